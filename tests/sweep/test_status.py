from chimeramix_jax.sweep.plan import jobs_of
from chimeramix_jax.sweep.processes import ERROR
from chimeramix_jax.sweep.status import failure_lines, table


def test_failures_are_listed_with_their_last_error_and_waiting_runs(runs):
    selected = runs("chimeramix_grid,chimeramix_grid_autoaugment")
    selected[0].workdir.mkdir(parents=True)
    (selected[0].workdir / ERROR).write_text("Traceback\nValueError: no\n\n")
    states = {job: job.state(retry=False) for job in jobs_of(selected)}
    failure = "failed: digits-chimeramix_grid-5-per-class-seed-0 (generator): ValueError: no"
    assert failure_lines(states) == [f"{failure} (2 runs wait for it)"]
    states = {job: job.state(retry=False) for job in jobs_of(selected[:1])}
    assert failure_lines(states) == [f"{failure} (1 run waits for it)"]


def test_the_table_shows_states_and_only_measured_times(runs, finish):
    selected = runs("chimeramix_grid,baseline", seeds="0:3")
    finish(selected[0], seconds=90.0, generator_seconds=600.0)
    text = table({job: job.state(retry=False) for job in jobs_of(selected)})
    grid, generator, baseline = (
        next(line.split() for line in text.splitlines() if f" {title} " in line)
        for title in ("chimeramix_grid", "generator (grid)", "baseline")
    )
    assert grid[2:] == ["5", "1", "0", "0", "2", "1m", "30s"]
    assert generator[-2:] == ["10m", "00s"]
    assert baseline[2:] == ["5", "0", "0", "0", "3", "unknown"]
    assert text.endswith("expected time for 4 jobs, one at a time: 23m 00s; unknown time for 3 jobs")
