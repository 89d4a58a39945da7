"""The table of GEM, whose data sets are folders of images with published lists."""

import csv
import dataclasses
import shutil

import numpy as np
import pytest
from conftest import TINY
from scipy import stats

from benchmarks.made_runs import make_run
from chimeramix_jax.command_line import program
from chimeramix_jax.errors import InputError
from chimeramix_jax.reproduce import beside, estimate, page, parts, published, step_time
from chimeramix_jax.reproduce.published import TableDataset
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.summary.comparison import summarize
from chimeramix_jax.summary.trials import read_run
from chimeramix_jax.sweep import plan
from tests.data.gem_files import write_gem

FILES = ("cub", "isic2018", "eurosat", "clamm")
ALL = ",".join(FILES)


def baselines(gem, folder, datasets=ALL, seeds="0", divisions="0", **settings):
    overrides = [f"--config.{key}={value}" for key, value in settings.items()]
    chosen = {"datasets": datasets, "experiments": "baseline", "seeds": seeds}
    return parts.chosen(gem, folder, **chosen, divisions=divisions if gem.divisions else None, overrides=overrides)


def fill(part, accuracy):
    """Writes results of a part's runs; ``accuracy`` returns that of a run, or None for a run that has not begun."""
    for run in part.runs:
        if (value := accuracy(run)) is not None:
            config = run.config
            make_run(
                run.workdir,
                value,
                config=run.source,
                seed=config.seed,
                max_labels_per_class=config.max_labels_per_class,
                dataset__division=config.dataset.division,
                classifier__epochs=config.classifier.epochs,
            )


def lines_of(part):
    """The comparisons of the baseline's figures, on all data sets."""
    found = beside.comparisons(part, beside.summary_of(part))
    return [line for by in found.values() for _, lines in by for line in lines if line.experiment == "baseline"]


def shown(part):
    """What stands beside the published figures of the baseline, by data set: its mean in percent."""
    found = {}
    for title, by_protocol in beside.comparisons(part, beside.summary_of(part)).items():
        (line,) = (line for _, lines in by_protocol for line in lines if line.experiment == "baseline")
        found[title] = line.measured and round(100 * line.measured.mean, 6)
    return found


def test_all_five_data_sets_can_be_filled(gem):
    assert all(dataset.can_be_filled for dataset in gem.datasets)
    assert gem.runs == 5 * 6 * 10 * 3


def test_runs_have_the_published_number_of_images_and_all_of_cub(gem, tmp_path):
    runs = {run.config_file: run for run in baselines(gem, tmp_path).runs}
    assert {name: run.config.max_labels_per_class for name, run in runs.items()} == {
        "cub": None, "isic2018": 80, "eurosat": 50, "clamm": 50
    }  # fmt: skip
    assert runs["cub"].name == "cub-baseline-all-per-class-seed-0"
    steps = {name: estimate.steps_of(run.config, "classifier") for name, run in runs.items()}
    assert steps == {"cub": 200 * 375, "isic2018": 500 * 35, "eurosat": 500 * 20, "clamm": 500 * 38}


def test_steps_are_timed_with_as_many_images_as_the_lists_have(gem, tmp_path):
    (run,) = baselines(gem, tmp_path, datasets="cub").runs
    run.config.update_from_flattened_dict({"classifier.image_side": 8})
    data = step_time._data(run.config, "classifier", 200).images
    counts = np.asarray(data.member_counts)
    assert counts.sum() == 5994 and set(counts.tolist()) == {29, 30}


def test_finished_runs_stand_beside_the_figures_of_their_own_data_set(gem, tmp_path):
    part = baselines(gem, tmp_path, seeds="0,1")
    fill(part, lambda run: (FILES.index(run.config_file) + 5) / 10)
    assert shown(part) == {"CUB": 50.0, "ISIC 2018": 60.0, "EuroSAT": 70.0, "CLaMM": 80.0}
    assert not beside.changed_settings(part)


def test_the_page_says_what_is_trained_on_by_data_set(gem, tmp_path):
    ours = beside.our_protocol(baselines(gem, tmp_path, seeds="0,1"))
    assert "CUB: all images of the published list trainval0; all test images" in ours["data"]
    assert "ISIC 2018: 80 images of every class of the published list trainval0" in ours["data"]
    assert ours["runs"] == "2 seeds, all on the same images"
    ours_on_all = beside.our_protocol(baselines(gem, tmp_path, "cifair10,cub", seeds="0,1", divisions=None))
    assert "ciFAIR-10: the published divisions 0, 1, 2; all test images" in ours_on_all["data"]
    assert "CUB: all images of the published lists trainval0, trainval1, trainval2" in ours_on_all["data"]
    assert ours_on_all["runs"] == "2 seeds on each of 3 divisions"
    assert "CLaMM: 500 epochs of about 50 images per class, cropped, in batches of 16" in ours["training"]
    assert "CUB: 200 epochs of all images once, cropped and mirrored, in batches of 16" in ours["training"]


def test_the_page_of_a_part_says_so_and_what_differs_for_it(gem, tmp_path):
    def differing(part):
        (protocol,) = gem.protocols
        return {key: beside.differs(part, protocol, key) for key in ("data", "network", "runs")}

    whole = parts.chosen(gem, tmp_path)
    assert beside.of_the_table(whole) == []
    assert differing(whole) == {"data": "no", "network": "yes: EuroSAT, CLaMM", "runs": "no"}
    part = parts.chosen(gem, tmp_path, datasets="cifair10", seeds="0,1", divisions="2", experiments="baseline")
    assert differing(part) == {"data": "yes", "network": "no", "runs": "yes"}
    assert page.standing(part, beside.summary_of(part))[0] == (
        "This is a part of the table: 1 of 5 data sets, 1 of 6 experiments, 2 of 10 seeds, 1 of 3 divisions."
    )
    fewer = parts.chosen(gem, tmp_path, datasets="clamm", seeds="0")
    assert differing(fewer) == {"data": "no", "network": "yes", "runs": "yes"}


def test_missing_data_sets_are_all_named_with_the_flag_for_the_rest(gem, tmp_path, data_dir, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_gem(tmp_path / "datasets" / "isic2018", "isic2018")
    part = baselines(gem, tmp_path, **{"dataset.data_dir": data_dir, "dataset.image_side": 8})
    with pytest.raises(InputError) as caught:
        parts.check_data(part.runs)
    message = str(caught.value)
    assert "\n" not in message and message.endswith("; --datasets=isic2018 fills the rest")
    assert message.startswith("cub is not available, nor are eurosat, clamm: dataset.directory: ")
    shutil.rmtree(tmp_path / "datasets" / "isic2018" / "ISIC2018_Task3_Training_Input")
    with pytest.raises(InputError, match=r"^isic2018 is not available: dataset.image_directory: \S+ is not a folder"):
        parts.check_data(baselines(gem, tmp_path, datasets="isic2018").runs)


def test_the_mean_of_the_divisions_stands_beside_the_published_one_with_an_interval_for_these(gem, tmp_path):
    part = baselines(gem, tmp_path, "clamm", seeds="0:4", divisions=None)
    assert [run.config.seed for run in part.runs] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    fill(part, lambda run: 0.3 + 0.1 * run.config.dataset.division + 0.01 * run.config.seed)
    (line,) = lines_of(part)
    assert line.finished == 12 and round(line.measured.mean, 6) == 0.415
    # Within each division the deviation of 0, 1, 2 and 3 points; nine degrees of freedom; twelve runs.
    half_width = stats.t.ppf(0.975, 9) * np.std([0.0, 0.01, 0.02, 0.03], ddof=1) / np.sqrt(12)
    np.testing.assert_allclose(line.measured.interval, [0.415 - half_width, 0.415 + half_width], rtol=1e-6)
    page.write(part, beside.summary_of(part), tmp_path)
    markdown = (tmp_path / "reproduce-gem.md").read_text()
    row = next(text for text in markdown.splitlines() if "Cross-entropy" in text and "41.50" in text)
    assert [cell.strip() for cell in row.split("|")[4:8]] == ["baseline", "12", "41.50 ± 1.29", "40.66 to 42.34"], row
    assert "All divisions count the same" in markdown and "Settings were changed" not in markdown
    assert all(f"clamm, division {number}, test images" in markdown for number in range(3))
    assert "(A)" not in markdown  # a division is not a setting that runs differ in by mistake
    with open(tmp_path / "reproduce-gem.csv") as file:
        assert ("12", "baseline") in {(row["runs"], row["experiment"]) for row in csv.DictReader(file)}


def test_divisions_that_have_hardly_begun_are_counted_as_missing_and_weigh_as_much_as_others(gem, tmp_path):
    part = baselines(gem, tmp_path, "clamm", seeds="0:2", divisions=None, **{"classifier.epochs": 3})
    begun = {(0, 0): 0.3, (0, 1): 0.4, (1, 0): 0.5}
    fill(part, lambda run: begun.get((run.config.dataset.division, run.config.seed)))
    (line,) = lines_of(part)  # the third division has no settings yet, and stands beside the others all the same
    assert line.finished == 3 and len(line.rows) == 3
    assert round(line.measured.mean, 6) == round((0.35 + 0.5) / 2, 6)
    assert "| 3 of 6 |" in page.markdown(part, beside.summary_of(part), protocols=False)


def test_one_run_of_each_division_has_no_interval(gem, tmp_path):
    part = baselines(gem, tmp_path, "clamm", divisions="0,2")
    fill(part, lambda run: 0.3 + 0.1 * run.config.dataset.division)
    (line,) = lines_of(part)
    assert round(line.measured.mean, 6) == 0.4 and line.measured.interval is None
    assert line.verdict == "one seed of a division, no interval"


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"divisions": "3"}, "--divisions: 3 is not in the table gem; allowed: 0, 1, 2"),
        ({"divisions": "x"}, "--divisions: 'x' is not allowed; it must be"),
        ({"divisions": "1,1"}, "--divisions: '1,1' names 1 twice; each must be given once"),
        ({"divisions": ""}, "--divisions: is empty"),
        ({"dataset.division": 1}, "--config.dataset.division=1: .* choose among them with --divisions"),
    ],
)
def test_divisions_that_cannot_be_chosen_are_refused(gem, tmp_path, chosen, message):
    with pytest.raises(InputError, match=message):
        baselines(gem, tmp_path, **chosen)


def test_a_table_without_divisions_refuses_them(tmp_path):
    with pytest.raises(InputError, match="--divisions: '0', but the table chimeramix has no published divisions"):
        parts.chosen(published.load("chimeramix"), tmp_path, divisions="0")


def test_divisions_share_an_estimate_of_the_time(gem, tmp_path):
    jobs = plan.jobs_of(baselines(gem, tmp_path, "clamm", seeds="0,1", divisions=None).runs, seeds_per_job=2)
    assert len(jobs) == 3 and len({job.kind for job in jobs}) == 1
    assert jobs[0].kind.dataset == "clamm"


def test_runs_of_two_divisions_are_listed_separately_and_paired_only_within_one(tmp_path):
    trials = []
    for experiment, division, accuracy in (("baseline", 0, 0.5), ("baseline", 1, 0.6), ("baseline_cosine", 1, 0.65)):
        changes = {"dataset__division": division, "dataset__directory": f"anywhere/{division}"}
        path = make_run(tmp_path / f"{experiment}{division}", accuracy, config=f"isic2018:{experiment}", **changes)
        trials += read_run(Workdir(path), "top1")[0]
    first, second = summarize(trials, [], None, "top1").sections
    assert [section.dataset for section in (first, second)] == ["isic2018, division 0", "isic2018, division 1"]
    assert [row.title for row in first.rows] == ["baseline"]
    assert [row.title for row in second.rows] == ["baseline", "baseline_cosine"]
    assert [round(value, 6) for value in second.rows[1].differences.values()] == [0.05]


def test_two_config_files_of_one_data_set_are_told_apart(gem, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    files = ("image_folder", "image_folder_gpu")
    datasets = tuple(TableDataset(file, file.upper(), (80,), every_image=True) for file in files)
    (figure,) = (one for one in gem.figures if one.dataset == "isic2018" and one.method.startswith("Cross"))
    figures = tuple(dataclasses.replace(figure, dataset=file) for file in files)
    table = dataclasses.replace(gem, datasets=datasets, figures=figures, divisions=())
    part = baselines(table, tmp_path / "runs", datasets="*", **{"dataset.directory": photos})
    with pytest.raises(InputError, match=r"^image_folder is not available, nor is image_folder_gpu: "):
        parts.check_data(part.runs)
    for run, accuracy in zip(part.runs, (0.25, 0.75), strict=True):
        make_run(run.workdir, accuracy, config=run.source, dataset__directory=str(photos))
    assert shown(part) == {"IMAGE_FOLDER": 25.0, "IMAGE_FOLDER_GPU": 75.0}


@pytest.mark.slow
def test_a_run_of_cub_is_trained_and_stands_beside_the_published_figure(tmp_path, data_dir, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_gem(tmp_path / "datasets" / "cub", "cub", divisions=(0, 1))
    values = {"dataset.data_dir": data_dir, "dataset.image_side": 8} | TINY
    del values["max_labels_per_class"]
    arguments = ["reproduce", "gem", "--datasets=cub", "--experiments=baseline", "--seeds=0", "--workdir=runs"]
    arguments.append("--divisions=0,1")
    arguments += [f"--config.{key}={value}" for key, value in values.items()]
    assert program.main(arguments) == 0
    output = capsys.readouterr().out
    assert "jobs to do: 0" in output and "one seed of a division, no interval" in output
    shutil.rmtree(tmp_path / "datasets")
    assert program.main([*arguments, "--report"]) == 0  # needs no images
    assert program.main([*arguments, "--dry_run"]) == 0
    assert "estimate: nothing is left to train" in capsys.readouterr().out
