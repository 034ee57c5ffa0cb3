"""The sweep of a class: its parts, asked for one by one, are the parts of the whole, each once."""

import hashlib
from dataclasses import replace

import pytest

from merging.errors import InvalidRequest
from merging.jobs.requests.base import canonical
from merging.jobs.sweeps.lab import lab_sweep
from merging.jobs.sweeps.plan import cells_of, no_network, planned_merge
from merging.teaching.cells import cell_words, dealt, lab_cells, read_sweep, to_stored


def parts(sweep):
    """Ids of all trainings, and the ids of the merges of untrained networks, which stand for the trained ones."""
    found = cells_of(sweep)
    trainings = {one.training.id for cell in found for one in cell.networks}
    return trainings, {planned_merge(sweep, cell, no_network).id for cell in found}


def test_the_cells_of_a_sweep_ask_for_its_trainings_and_merges_and_for_nothing_else():
    sweep = lab_sweep()
    whole = parts(sweep)
    one_by_one = [parts(sweep.point(cell.values, cell.group)) for cell in lab_cells(sweep)]
    assert len(one_by_one) == 30
    assert set().union(*(trainings for trainings, _ in one_by_one)) == whole[0]
    assert set().union(*(merges for _, merges in one_by_one)) == whole[1]
    assert sum(len(trainings) for trainings, _ in one_by_one) == len(whole[0])


def test_thirty_students_get_thirty_different_cells_and_the_next_one_the_first_again():
    sweep = lab_sweep()
    mine = [dealt(sweep, number) for number in range(1, 31)]
    assert len(set(mine)) == 30
    assert dealt(sweep, 31) == mine[0]
    assert cell_words(sweep, mine[7]) == "width of the first hidden layer 16, group 1"


def test_the_first_student_of_each_width_covers_the_axis_before_a_second_group_begins():
    assert [dealt(lab_sweep(), number).group for number in range(1, 7)] == [0] * 6


def test_a_sweep_is_read_back_as_it_was_stored_and_damage_gives_none():
    sweep = lab_sweep()
    assert read_sweep(to_stored(sweep)).id == sweep.id
    assert read_sweep("") is None and read_sweep("{") is None and to_stored(None) == ""


def test_axes_whose_points_share_trainings_or_seeds_are_not_dealt_out():
    for axis, values in (("epoch", (1, 2)), ("networks", (2, 3))):
        with pytest.raises(InvalidRequest, match="cannot be asked for one by one"):
            lab_cells(replace(lab_sweep(), axes=((axis, values),)))
    with pytest.raises(InvalidRequest, match="a class takes one of up to 60"):
        lab_cells(replace(lab_sweep(), groups=11))


def test_a_sweep_without_a_first_group_has_the_id_that_it_had_before_there_was_one():
    sweep = lab_sweep()
    assert "first_group" not in canonical(sweep) and '"first_group":1' in canonical(sweep.point((8,), 1))
    assert hashlib.sha256(canonical(sweep).encode()).hexdigest() == sweep.id != sweep.point((8,), 1).id
