"""The training stages, the loop that runs them, and their checkpoints.

From the loop to a training step::

    loop.train                       epochs, metrics, checkpoints and rollbacks of one stage
      yields calls.StepCall          to whatever drives the run: calls.drive, or team.Team for several seeds
        epochs.EpochRunner           the compiled function, which runs some steps of an epoch in one call
          GeneratorStage.train_step  or that of another stage: one step, as a pure function

``GeneratorStage`` is in ``generator.py``, ``ClassifierStage`` in ``classifier.py``, and ``PretrainingStage``, which few
experiments have, in ``pretraining.py``. Each ``train_step`` shows everything that happens in a step, in order: views,
masks or mixes, losses, updates. ``classifier_batches`` makes what the classifier is shown, ``networks`` builds what the
stages train, ``measured_classifier`` measures a classifier in any state of its training, and ``prediction`` computes
logits and features with a trained one.
``stage_data`` puts the few-shot set on the device and builds its augmentation; ``execution`` decides which devices run
the calls.
"""
