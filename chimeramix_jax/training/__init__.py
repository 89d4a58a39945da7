"""The two training stages, the loop that runs them, and their checkpoints.

From the loop to a training step::

    loop.train                       epochs, metrics, checkpoints, rollbacks of one stage
      yields calls.StepCall          to whoever drives the run: calls.drive, or team.Team for several seeds
        epochs.EpochRunner           the compiled function: some steps of an epoch in one call
          GeneratorStage.train_step  or ClassifierStage.train_step: one step, as a pure function

``GeneratorStage`` is in ``generator.py`` and ``ClassifierStage`` in ``classifier.py``; each ``train_step`` shows
everything that happens in a step, in order: views, masks or mixes, losses, updates. ``stage_data`` puts the few-shot
set on the device with its augmentation; ``execution`` decides on which devices calls run.
"""
