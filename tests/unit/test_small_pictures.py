"""Fashion-MNIST and CIFAR, read from small files in their formats."""

import gzip
import io
import pickle
import tarfile

import numpy as np
import pytest
from mnist_files import idx, small_set
from PIL import Image
from scipy.io import savemat

from expkit.api import DataError
from expkit.testing import check_dataset
from expkit_datasets.cifar import HUNDRED, TEN, cifar10, cifar100
from expkit_datasets.fashion_mnist import FILES, LABELS, fashion_mnist
from expkit_datasets.flowers import flowers


def write_fashion(folder, **changed):
    folder.mkdir(exist_ok=True)
    for key, values in {**small_set(), **changed}.items():
        (folder / FILES[key].name).write_bytes(gzip.compress(idx(values)))
    return folder


def batches(form, classes, each=20):
    random = np.random.default_rng(0)
    for name in (*form.train, form.test):
        pixels = random.integers(0, 256, (each, 3072), dtype=np.uint8)
        yield name, {"data": pixels, form.classes: [n % classes for n in range(each)]}
    yield form.meta, {form.names: [f"thing {n}" for n in range(classes)]}


def write_cifar(folder, form, classes):
    """Protocol 2 is that of the real files."""
    folder.mkdir()
    with tarfile.open(folder / form.official.files[0].name, "w:gz") as tar:
        for name, content in batches(form, classes):
            packed = pickle.dumps(content, protocol=2)
            member = tarfile.TarInfo(f"{form.folder}/{name}")
            member.size = len(packed)
            tar.addfile(member, io.BytesIO(packed))
    return folder


def test_fashion_mnist_is_read_and_split(tmp_path):
    folder = write_fashion(tmp_path / "files")
    data = fashion_mnist(root=str(folder), check=False, valid=10)
    check_dataset(data)
    assert (len(data.train), len(data.valid), len(data.test)) == (30, 10, 10)
    assert data.spec.labels == tuple(LABELS.split(","))
    assert data.spec.name == "fashion_mnist (unofficial files)"
    assert np.array_equal(data.train.inputs, small_set()["train_images"][:30])


@pytest.mark.parametrize(("load", "form", "classes"), [(cifar10, TEN, 10), (cifar100, HUNDRED, 7)])
def test_cifar_is_read_and_split(tmp_path, load, form, classes):
    folder = write_cifar(tmp_path / "files", form, classes)
    data = load(root=str(folder), check=False, valid=5)
    check_dataset(data)
    assert len(data.train) == 20 * len(form.train) - 5
    assert data.spec.input_shape == (3, 32, 32)
    assert data.spec.labels[1] == "thing 1"
    first = next(batches(form, classes))[1]["data"][0].reshape(3, 32, 32)
    assert np.array_equal(data.train.inputs[0], first.transpose(1, 2, 0))


@pytest.mark.parametrize("inner", [True, False])
def test_what_was_unpacked_is_read_too(tmp_path, inner):
    folder = tmp_path / TEN.folder if inner else tmp_path
    folder.mkdir(exist_ok=True)
    for name, content in batches(TEN, 10):
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    packed = cifar10(root=str(write_cifar(tmp_path / "packed", TEN, 10)), check=False, valid=5)
    assert cifar10(root=str(tmp_path), valid=5).spec.fingerprint == packed.spec.fingerprint


class Trap:
    def __reduce__(self):
        return (print, ("code was run",))


def test_a_pickle_that_would_run_code_is_refused(tmp_path, capsys):
    for name, content in batches(TEN, 10):
        (tmp_path / name).write_bytes(pickle.dumps({**content, "more": Trap()}, protocol=2))
    with pytest.raises(DataError, match=r"data_batch_1 cannot be read: asks for __builtin__\.print"):
        cifar10(root=str(tmp_path))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("load", "write", "message"),
    [
        (fashion_mnist, write_fashion, "is not the official file: its md5 is .*dataset.check=false"),
        (cifar10, lambda f: write_cifar(f, TEN, 10), "is not the official file: its md5 is"),
        (fashion_mnist, lambda f: f.mkdir(), "holds no train-images-idx3-ubyte.gz"),
        (cifar100, lambda f: f.mkdir(), "holds no cifar-100-python.tar.gz, and no train, no test, no meta unpacked"),
        (cifar10, lambda f: None, "does not exist"),
    ],
)
def test_files_that_are_not_right_are_told(tmp_path, load, write, message):
    write(tmp_path / "files")
    with pytest.raises(DataError, match=message):
        load(root=str(tmp_path / "files"))


@pytest.mark.parametrize("load", [fashion_mnist, cifar10, cifar100])
def test_without_files_what_to_do_is_told(tmp_path, monkeypatch, load):
    monkeypatch.setenv("EXPKIT_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("EXPKIT_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(DataError, match=r"no files: .*download is switched off\. Put .* set dataset\.root"):
        load(download=False)


def test_a_damaged_archive_is_told(tmp_path):
    folder = write_cifar(tmp_path / "files", TEN, 10)
    archive = folder / TEN.official.files[0].name
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(DataError, match="is damaged"):
        cifar10(root=str(folder), check=False)


def write_flowers(folder, count=12):
    folder.mkdir()
    savemat(folder / "imagelabels.mat", {"labels": np.arange(1, count + 1, dtype=np.uint8)[None]})
    parts = {"trnid": [1, 2, 3], "valid": [4, 5], "tstid": list(range(6, count + 1))}
    savemat(folder / "setid.mat", {key: np.array([numbers], dtype=np.uint16) for key, numbers in parts.items()})
    with tarfile.open(folder / "102flowers.tgz", "w:gz") as tar:
        for number in range(1, count + 1):
            file = io.BytesIO()
            Image.new("RGB", (30 + number, 50), (20 * number, 0, 255)).save(file, "JPEG", quality=95)
            member = tarfile.TarInfo(f"jpg/image_{number:05}.jpg")
            member.size = file.tell()
            file.seek(0)
            tar.addfile(member, file)
    return folder


def test_flowers_are_scaled_and_split_as_paddle_or_their_authors_do(tmp_path):
    folder = write_flowers(tmp_path / "files")
    data = flowers(root=str(folder), check=False, size=16)
    check_dataset(data)
    assert [len(data.train), len(data.valid), len(data.test)] == [7, 2, 3]
    assert data.train.inputs.shape == (7, 16, 16, 3)
    assert data.train.targets.tolist() == [5, 6, 7, 8, 9, 10, 11]
    assert abs(int(data.train.inputs[0, 8, 8, 0]) - 120) < 4
    authors = flowers(root=str(folder), check=False, size=16, split="authors")
    assert authors.train.targets.tolist() == [0, 1, 2]
    with pytest.raises(DataError, match=r"setid\.mat is not|102flowers\.tgz is not the official"):
        flowers(root=str(folder))


def test_a_flower_that_is_missing_is_told(tmp_path):
    folder = write_flowers(tmp_path / "files")
    savemat(folder / "imagelabels.mat", {"labels": np.arange(1, 14, dtype=np.uint8)[None]})
    savemat(folder / "setid.mat", {"trnid": [[1]], "valid": [[2]], "tstid": [[13]]})
    with pytest.raises(DataError, match="no photograph of the number 13"):
        flowers(root=str(folder), check=False)
