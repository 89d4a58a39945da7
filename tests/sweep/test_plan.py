import json

import pytest

from chimeramix_jax import config as settings
from chimeramix_jax import files
from chimeramix_jax.errors import InputError
from chimeramix_jax.sweep import slurm, status
from chimeramix_jax.sweep.plan import State, jobs_of
from chimeramix_jax.sweep.processes import ERROR

GRIDS = "chimeramix_grid,chimeramix_grid_autoaugment"


def seed(number):
    return f"digits-chimeramix_grid-5-per-class-seed-{number}"


def fail(run):
    run.workdir.mkdir(parents=True, exist_ok=True)
    (run.workdir / ERROR).write_text("ValueError: no\n")


def test_a_generator_is_trained_once_for_all_experiments_of_its_seed_and_images(runs):
    jobs = jobs_of(runs(f"{GRIDS},baseline,chimeramix_grid_direct", images="5,10", seeds="0:2"))
    generators = [job for job in jobs if job.stage == "generator"]
    assert len(generators) == 4  # 2 numbers of images, 2 seeds
    for job in jobs:
        if job.run.config.experiment in GRIDS.split(","):
            owner = job.generator_job.run if job.stage == "classifier" else job.run
            assert (owner.config.seed, owner.config.max_labels_per_class) == (
                job.run.config.seed,
                job.run.config.max_labels_per_class,
            )
        else:
            assert (job.stage, job.generator_job) == ("all", None)


def test_different_kinds_of_masks_need_different_generators(runs):
    jobs = jobs_of(runs("chimeramix_grid,chimeramix_segmentation"))
    assert [job.stage for job in jobs] == ["generator", "classifier"] * 2


def test_a_classifier_is_given_the_directory_of_its_generator_if_it_is_another_runs(runs):
    generator, own, other = jobs_of(runs(GRIDS))
    assert generator.task.arguments[-1] == "--stage=generator"
    assert own.task.arguments[-1] == "--stage=classifier"
    assert other.task.arguments[-2:] == ("--stage=classifier", f"--generator_workdir={generator.run.workdir}")


def test_a_run_that_already_has_the_generator_provides_it(runs, finish):
    first, second = runs(GRIDS)
    finish(second, generator=True)
    jobs = jobs_of([first, second])
    assert [(job.run, job.stage) for job in jobs] == [
        (second, "generator"),
        (first, "classifier"),
        (second, "classifier"),
    ]


def test_seeds_of_one_run_share_a_job_up_to_the_limit(runs):
    jobs = jobs_of(runs(f"{GRIDS},baseline", seeds="0:3"), seeds_per_job=2)
    assert [job.name.replace("digits-chimeramix_", "").replace("-5-per-class-seed", "") for job in jobs] == [
        "grid-{0,1} (generator)",
        "grid-2 (generator)",
        "grid-{0,1}",
        "grid-2",
        "grid_autoaugment-{0,1}",
        "grid_autoaugment-2",
        "digits-baseline-{0,1}",
        "digits-baseline-2",
    ]
    pattern = jobs[0].run.workdir.with_name("digits-chimeramix_grid-5-per-class-seed-{seed}")
    assert jobs[2].generator_job is jobs[4].generator_job is jobs[0]
    for job, stage in ((jobs[0], "generator"), (jobs[2], "classifier")):
        arguments = ("--config.seeds=0,1", f"--workdir={pattern}", f"--stage={stage}")
        assert job.task.arguments[-3:] == arguments
        assert job.task.workdirs == tuple(run.workdir for run in job.runs)
    assert jobs[4].task.arguments[-1] == f"--generator_workdir={pattern}"
    assert "--config.seed=2" in jobs[5].task.arguments
    assert jobs[5].task.arguments[-1] == f"--generator_workdir={jobs[1].run.workdir}"


def test_a_job_of_several_seeds_runs_the_unfinished_ones(runs, finish):
    finished, new, other = selected = runs("baseline", seeds="0:3")
    finish(finished)
    (job,) = jobs_of(selected, seeds_per_job=3)
    assert job.state(retry=False) == State.TO_DO
    assert job.state(retry=False, queued=[new.name]) == State.QUEUED
    assert job.task.workdirs == (new.workdir, other.workdir)
    assert "--config.seeds=1,2" in job.task.arguments
    assert "5     1       0       0      2" in status.table({job: State.TO_DO})


def test_a_seed_that_failed_does_not_keep_the_other_seeds_from_being_run(runs, finish):
    finished, failed, new = selected = runs("baseline", seeds="0:3")
    finish(finished)
    fail(failed)
    jobs = jobs_of(selected, seeds_per_job=3)
    assert [[run.config.seed for run in job.runs] for job in jobs] == [[0, 2], [1]]
    assert [job.state(retry=False) for job in jobs] == [State.TO_DO, State.FAILED]
    assert [job.state(retry=True) for job in jobs] == [State.TO_DO, State.TO_DO]
    assert jobs[0].task.workdirs == (new.workdir,)
    states = {job: job.state(retry=False) for job in jobs}
    assert status.failure_lines(states) == [f"failed: {failed.name}: ValueError: no"]


def test_a_generator_that_failed_blocks_the_classifiers_of_its_seed_only(runs, finish):
    selected = runs(GRIDS, seeds="0:3")
    owners = [run for run in selected if run.config.experiment == "chimeramix_grid"]
    for run in owners[:2]:
        finish(run, generator=True)
    fail(owners[2])
    jobs = jobs_of(selected, seeds_per_job=3)
    states = {job: job.state(retry=False) for job in jobs}
    assert [(job.stage, [run.config.seed for run in job.runs], states[job]) for job in jobs] == [
        ("generator", [0, 1], State.DONE),
        ("generator", [2], State.FAILED),
        *[("classifier", [0, 1], State.TO_DO), ("classifier", [2], State.TO_DO)] * 2,
    ]
    assert [job.blocked_by(states) for job in jobs[2:]] == [None, jobs[1]] * 2
    assert status.failure_lines(states) == [f"failed: {seed(2)} (generator): ValueError: no (2 runs wait for it)"]


def test_runs_with_folds_have_a_job_for_each_seed_and_generators_of_their_own(runs):
    selected = runs(GRIDS, seeds="0:2", overrides=["--config.folds=2"])
    jobs = jobs_of(selected, seeds_per_job=2)
    assert [(job.stage, len(job.runs)) for job in jobs] == [("all", 1)] * 4
    for job in jobs:  # seeds that train together are refused with folds
        changes = [argument for argument in job.task.arguments if argument.startswith("--config.")]
        config = settings.load(job.run.source)
        settings.override(config, changes)
        settings.check(config)


def test_finished_jobs_are_done(runs, states, finish):
    first, second = selected = runs(GRIDS)
    finish(first, generator=True)
    finish(second)
    assert list(states(selected).values()) == [State.DONE, State.TO_DO, State.DONE]


@pytest.mark.parametrize(
    "content",
    [
        '{"dataset": ',
        "{}",
        '{"format": 1, "seconds": {"classifier": 1.0}}',
        '{"test": {"loss": 1.0}, "seconds": {}}',
        '{"test": {"top1": "0.5"}}',
        '{"test": {"top1": true}}',
        '{"folds": [0.5]}',
    ],
)
def test_a_run_without_an_accuracy_in_its_results_is_not_done(runs, states, finish, content):
    (run,) = selected = runs("baseline")
    finish(run)
    (run.workdir / "results.json").write_text(content)
    assert list(states(selected).values()) == [State.TO_DO]
    assert "unknown" in status.table(dict.fromkeys(jobs_of(selected), State.TO_DO))


@pytest.mark.parametrize("seconds", ['"long"', '{"classifier": null}', "{}", "null"])
@pytest.mark.parametrize("split", ["test", "validation", "folds"])
def test_a_run_with_an_accuracy_is_done_whatever_is_known_of_its_time(runs, states, finish, split, seconds):
    (run,) = selected = runs("baseline")
    finish(run)
    (run.workdir / "results.json").write_text(f'{{"{split}": {{"top1": 1}}, "seconds": {seconds}}}')
    assert list(states(selected).values()) == [State.DONE]
    assert "unknown" in status.table(dict.fromkeys(jobs_of(selected), State.DONE))


def test_a_run_that_was_killed_before_its_report_is_not_done(runs, states, finish):
    (run,) = selected = runs("baseline")
    finish(run)
    assert list(states(selected).values()) == [State.DONE]  # there is nothing from which a report could be made
    (run.workdir / "classifier" / "checkpoints").mkdir(parents=True)
    assert list(states(selected).values()) == [State.TO_DO]
    (run.workdir / "report.html").touch()
    assert list(states(selected).values()) == [State.DONE]


def test_a_failed_run_is_only_run_again_with_retry(runs, states):
    (run,) = selected = runs("baseline")
    run.workdir.mkdir(parents=True)
    (run.workdir / ERROR).write_text("Traceback\nValueError: no\n")
    assert list(states(selected).values()) == [State.FAILED]
    assert list(states(selected, retry=True).values()) == [State.TO_DO]


def test_a_run_that_uses_the_generator_of_another_fails_by_itself(runs, states, finish):
    owner, other = selected = runs(GRIDS)
    finish(owner, generator=True)
    fail(other)  # before it has a copy of the generator
    assert states(selected)[other.name] == State.FAILED
    assert states(selected, retry=True)[other.name] == State.TO_DO
    job = jobs_of(selected)[-1]
    assert job.failed() == [other]


def test_a_run_without_the_baseline_that_is_asked_for_is_not_done(runs, states, finish):
    def chosen(compare):
        return runs("chimeramix_grid_direct,baseline", overrides=[f"--config.compare_with_baseline={compare}"])

    mixing, baseline = without = chosen("false")
    for run in without:
        finish(run)
    assert set(states(without).values()) == {State.DONE}
    assert states(chosen("true")) == {mixing.name: State.TO_DO, baseline.name: State.DONE}
    results = json.loads((mixing.workdir / "results.json").read_text())
    files.write_json(mixing.workdir / "results.json", results | {"baseline": {"test": {"top1": 0.5}}})
    assert set(states(chosen("true")).values()) == {State.DONE}


def test_an_error_belongs_to_the_generator_until_the_generator_is_finished(runs, states, finish):
    (run,) = selected = runs()
    run.workdir.mkdir(parents=True)
    (run.workdir / ERROR).write_text("ValueError: no\n")
    assert list(states(selected).values()) == [State.FAILED, State.TO_DO]
    finish(run, generator=True)
    assert list(states(selected).values()) == [State.DONE, State.FAILED]


def test_a_folder_with_jobs_of_slurm_is_refused_in_a_line_where_there_is_no_slurm(tmp_path, monkeypatch):
    (tmp_path / "slurm.json").write_text('{"digits-baseline": "17"}')
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"slurm.json: Slurm may have jobs .* no squeue on this machine") as refused:
        slurm.queued(tmp_path)
    assert "\n" not in str(refused.value)
