import os
import pickle

import numpy as np
import pytest

from chimeramix_jax.data.safe_pickle import load_plain_pickle
from chimeramix_jax.errors import InputError

# {'data': numpy.array([97, 98, 99], uint8), 'labels': [1, 2]} as Python 2 and NumPy 1 write it.
PYTHON_2_PICKLE = (
    b"\x80\x02}("
    b"U\x04data"
    b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    b"(K\x01K\x03\x85cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
    b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x03abctb"
    b"U\x06labels](K\x01K\x02e"
    b"u."
)


class _CallsOnLoading:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def test_a_python_2_pickle_of_an_array_is_read_with_strings_as_bytes():
    content = load_plain_pickle(PYTHON_2_PICKLE, "batch")
    np.testing.assert_array_equal(content[b"data"], np.array([97, 98, 99], np.uint8))
    assert content[b"labels"] == [1, 2]


def test_an_array_pickled_by_numpy_2_is_read():
    content = load_plain_pickle(PYTHON_2_PICKLE.replace(b"numpy.core.", b"numpy._core."), "batch")
    assert content[b"data"].tolist() == [97, 98, 99]


@pytest.mark.parametrize("protocol", range(5))  # protocol 5 is later than the archives
def test_arrays_scalars_and_plain_containers_of_python_3_are_read_in_every_protocol(protocol):
    written = {
        "array": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "columns": np.asfortranarray(np.ones((2, 2))),
        "scalar": np.int64(3),
        "containers": ((1, 2), {"a": 1}, [None, True, 1.5, b"bytes", "text"]),
    }
    read = load_plain_pickle(pickle.dumps(written, protocol), "batch")
    np.testing.assert_array_equal(read["array"], written["array"])
    np.testing.assert_array_equal(read["columns"], written["columns"])
    assert read["scalar"] == 3
    assert read["containers"] == written["containers"]


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_uses_a_function_is_refused_without_calling_it(tmp_path, protocol):
    harmed = tmp_path / "harmed"
    data = pickle.dumps({"data": _CallsOnLoading(os.mkdir, str(harmed))}, protocol)
    with pytest.raises(InputError, match=r"batch_7 cannot be read: it uses (posix|nt)\.mkdir; only plain"):
        load_plain_pickle(data, "batch_7")
    assert not harmed.exists()


@pytest.mark.parametrize("function", [eval, getattr, np.load, np.fromfile])
def test_other_functions_of_python_and_numpy_are_refused(function):
    with pytest.raises(InputError, match="only plain containers"):
        load_plain_pickle(pickle.dumps(_CallsOnLoading(function, "x")), "batch")


@pytest.mark.parametrize(
    "data", [b"", b"not a pickle", PYTHON_2_PICKLE[:-40], b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aU\x03no \x86R."]
)
def test_a_damaged_pickle_is_refused_with_its_name_in_one_line(data):
    with pytest.raises(InputError, match=r"the pickle batch_7 cannot be read: \S") as caught:
        load_plain_pickle(data, "batch_7")
    assert "\n" not in str(caught.value)
