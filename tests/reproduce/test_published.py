"""The shipped tables, and reading them."""

import pytest

from chimeramix_jax.config.experiments import EXPERIMENTS, STUDY
from chimeramix_jax.errors import InputError
from chimeramix_jax.reproduce import published
from chimeramix_jax.reproduce.published import ASPECTS
from chimeramix_jax.summary.trials import METRICS

every_table = pytest.mark.parametrize("name", published.names())


@every_table
def test_every_figure_has_a_source_and_a_whole_protocol_and_belongs_to_the_sweep(name):
    table = published.load(name)
    sizes = {dataset.config: dataset.images_per_class for dataset in table.datasets}
    assert table.figures and table.metric in METRICS
    for figure in table.figures:
        assert 0 < figure.percent < 100
        assert figure.images_per_class in sizes[figure.dataset]
        assert set(figure.experiments) <= set(table.experiments) <= set(EXPERIMENTS)
        for source in (figure.source, figure.protocol.source):
            assert source.title and source.url.startswith("https://")
        assert list(figure.protocol.aspects) == list(ASPECTS)
        assert all(aspect.said for aspect in figure.protocol.aspects.values())
        assert {aspect.differs for aspect in figure.protocol.aspects.values()} <= {"yes", "no", "unknown"}


@every_table
def test_no_protocol_has_two_figures_for_the_same_method_and_place(name):
    figures = published.load(name).figures
    places = {(figure.protocol, figure.method, figure.dataset, figure.images_per_class) for figure in figures}
    assert len(places) == len(figures)


def test_the_sweep_of_the_study_is_that_of_the_released_program():
    table = published.load("chimeramix")
    assert table.experiments == tuple(STUDY) and table.seeds == (0, 1, 2, 3, 4)
    assert {dataset.config: dataset.images_per_class for dataset in table.datasets} == dict.fromkeys(
        ("cifair10", "cifair100", "stl10"), (5, 10, 20, 30, 50, 100)
    )
    assert table.runs == 3 * 14 * 6 * 5


def test_a_figure_whose_mask_is_not_said_stands_beside_both_and_says_so():
    for figure in published.load("chimeramix").figures:
        policy = "_autoaugment" if "AutoAugment" in figure.method else ""
        assert figure.experiments == (f"chimeramix_grid{policy}", f"chimeramix_segmentation{policy}")
        assert "does not name the mask" in figure.note


def test_a_table_takes_over_the_figures_of_others_for_its_own_places_only():
    field = published.load("field")
    taken = [figure for figure in field.figures if figure.protocol.title == "GEM"]
    assert len(taken) == 12 and {figure.dataset for figure in taken} == {"cifair10"}
    assert [protocol.title for protocol in field.protocols][-1] == "GEM"


def test_a_table_that_takes_over_figures_says_how_its_own_runs_differ():
    differs = {
        name: {key: aspect.differs for key, aspect in protocol.aspects.items()}
        for name in ("gem", "field")
        for protocol in published.load(name).protocols
        if protocol.title == "GEM"
    }
    assert differs["gem"]["runs"] == differs["gem"]["data"] == "no"  # ten seeds on each of the published divisions
    # Its images are drawn by the seed, and GEM has another network only for data sets that are not in it.
    assert differs["field"] == differs["gem"] | {"runs": "yes", "data": "yes", "network": "no"}


def test_an_unknown_table_is_refused_with_the_name_that_was_probably_meant():
    with pytest.raises(InputError, match=r"TABLE: 'chimeramx' is not known.*did you mean 'chimeramix'"):
        published.load("chimeramx")
