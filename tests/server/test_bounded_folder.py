"""A folder that holds so many bytes: what goes, what stays, and what lies there besides."""

import os
import resource
import threading
from pathlib import Path

import pytest

from vistok_server.bounded_folder import BoundedFolder, NewFile, bounded_folder


def name(number: int) -> str:
    return f"{number:032x}"


@pytest.fixture
def folder(tmp_path: Path) -> BoundedFolder:
    return BoundedFolder(tmp_path, 1000)


def there(folder: BoundedFolder) -> set[int]:
    return {number for number in range(100) if (folder.path / name(number)).exists()}


def total(folder: BoundedFolder) -> int:
    return sum(path.stat().st_size for path in folder.path.iterdir())


def test_what_is_written_is_read(folder: BoundedFolder) -> None:
    assert folder.read(name(1)) is None
    assert folder.find(name(1)) is None
    folder.write(name(1), b"one")
    folder.write(name(1), b"another")
    assert folder.read(name(1)) == b"another"
    assert folder.find(name(1)) == folder.path / name(1)
    assert len(os.listdir(folder.path)) == 1


def test_the_least_recently_used_go_first(folder: BoundedFolder) -> None:
    for number in range(10):
        folder.write(name(number), bytes(100))
    folder.read(name(0))
    folder.find(name(2))
    for number in range(10, 13):
        folder.write(name(number), bytes(100))
    assert there(folder) == {0, 2, *range(5, 13)}


def test_there_are_never_more_bytes_than_may_be(folder: BoundedFolder) -> None:
    for number in range(60):
        folder.write(name(number), bytes(7 + 31 * number % 400))
        assert total(folder) <= 1000
    assert total(folder) > 500


def test_what_is_larger_than_all_is_refused_and_leaves_nothing(folder: BoundedFolder) -> None:
    with pytest.raises(OSError, match="no room"):
        folder.write(name(1), bytes(1001))
    assert not os.listdir(folder.path)
    folder.write(name(1), bytes(1000))
    assert there(folder) == {1}


def test_a_disk_that_is_full_is_told_and_nothing_is_left(folder: BoundedFolder) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            folder.write(name(1), bytes(500))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not os.listdir(folder.path)
    folder.write(name(1), bytes(500))
    assert there(folder) == {1}


def test_a_file_is_found_only_when_it_is_whole(folder: BoundedFolder) -> None:
    file = NewFile(folder, name(1))
    for _ in range(3):
        file.write(b"part")
        assert folder.find(name(1)) is None
    file.keep()
    file.discard()
    assert folder.read(name(1)) == b"part" * 3
    given_up = NewFile(folder, name(2))
    given_up.write(b"part")
    given_up.discard()
    assert os.listdir(folder.path) == [name(1)]
    NewFile(folder, name(3)).discard()


def test_files_that_are_used_or_written_stay(folder: BoundedFolder) -> None:
    folder.write(name(1), bytes(500))
    file = NewFile(folder, name(2))
    file.write(bytes(400))
    with folder.holding(name(1)):
        with pytest.raises(OSError, match="no room"):
            folder.write(name(3), bytes(200))
        assert folder.find(name(1))
    folder.write(name(3), bytes(200))
    file.keep()
    file.discard()
    assert there(folder) == {2, 3}


def test_a_folder_is_what_it_was_and_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_bytes(bytes(5000))
    (tmp_path / "photos").mkdir()
    before = BoundedFolder(tmp_path, 1000)
    for number in range(5):
        before.write(name(number), bytes(200))
    before.read(name(0))
    # What a process that was killed has left.
    leftover = tmp_path / f"{name(9)}.new-abc"
    leftover.write_bytes(bytes(300))
    os.utime(leftover, (0, 0))
    after = BoundedFolder(tmp_path, 1000)
    after.write(name(5), bytes(300))
    assert there(after) == {0, 3, 4, 5}
    assert {path.name for path in tmp_path.iterdir()} >= {"letter.txt", "photos"}
    assert not leftover.exists()


def test_a_folder_that_was_tidied_away_is_made_again(tmp_path: Path) -> None:
    folder = BoundedFolder(tmp_path / "gone", 1000)
    assert folder.read(name(1)) is None
    folder.write(name(1), b"one")
    assert folder.read(name(1)) == b"one"


def test_many_threads_and_two_folders_on_one_place(tmp_path: Path) -> None:
    folders = [BoundedFolder(tmp_path, 2000), BoundedFolder(tmp_path, 2000)]
    wrong: list[object] = []

    def work(seed: int) -> None:
        try:
            for step in range(60):
                number = (seed * 7 + step) % 20
                folder = folders[(seed + step) % 2]
                folder.write(name(number), bytes([number]) * 150)
                found = folder.read(name((number + 3) % 20))
                if found not in (None, bytes([(number + 3) % 20]) * 150):
                    wrong.append(found)
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert all(len(path.name) == 32 for path in tmp_path.iterdir())


def test_without_a_place_it_is_temporary(tmp_path: Path) -> None:
    with bounded_folder(None, 1000) as folder:
        folder.write(name(1), b"one")
        assert folder.path.is_dir()
    assert not folder.path.exists()
    with bounded_folder(tmp_path / "new" / "place", 1000) as folder:
        folder.write(name(1), b"one")
    assert (tmp_path / "new" / "place" / name(1)).read_bytes() == b"one"
