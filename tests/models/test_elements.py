import numpy as np
import pytest

from models.elements import N_FEATURES, cgcnn_features, pack, unpack
from pathways.elements import SYMBOLS
from pathways.types import PathwayError

LAST = 100


def test_one_row_per_atom_of_zeros_and_ones() -> None:
    features = cgcnn_features(np.array([3, 8, 8, 12]))
    assert features.shape == (4, N_FEATURES)
    assert features.dtype == np.float32
    assert set(np.unique(features)) == {0.0, 1.0}
    assert (features[1] == features[2]).all()
    # One bin of each of nine properties, where the property is known.
    assert features.sum(axis=1).max() <= 9


def test_first_columns_are_the_group_of_the_periodic_table() -> None:
    hydrogen_family, oxygen_family = [1, 3, 11, 19], [8, 16, 34]
    groups = cgcnn_features(np.array(hydrogen_family + oxygen_family))[:, :19].argmax(axis=1)
    assert groups.tolist() == [1, 1, 1, 1, 16, 16, 16]


@pytest.mark.parametrize("number", [-1, 0, LAST + 1, 118])
def test_element_without_entry_is_refused(number: int) -> None:
    with pytest.raises(
        PathwayError, match=f"atomic number {number}, only for 1 to {LAST}"
    ) as error:
        cgcnn_features(np.array([8, number]))
    assert error.value.reason == "unknown_element"


def test_the_table_is_not_written_through() -> None:
    features = cgcnn_features(np.array([8]))
    features[:] = -1
    assert (cgcnn_features(np.array([8])) >= 0).all()


def test_pack_and_unpack() -> None:
    bits = np.random.default_rng(0).integers(0, 2, N_FEATURES)
    assert (unpack(pack(bits)) == bits).all()


def test_equals_jarvis() -> None:
    specie = pytest.importorskip("jarvis.core.specie", reason="needs the extra 'reference'")
    for number in range(1, LAST + 1):
        theirs = specie.get_node_attributes(SYMBOLS[number], atom_features="cgcnn")
        assert cgcnn_features(np.array([number]))[0].tolist() == theirs, SYMBOLS[number]
