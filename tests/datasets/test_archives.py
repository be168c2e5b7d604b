"""Archives of strangers: what they hold, what is refused by name, and files written whole."""

import io
import os
import tarfile
import zipfile

import pytest
import trees

from ood_seg.datasets.setup.archives import open_source, place_below, whole_file

LIMIT = 10**9
OUTSIDE = ["../up.png", "/etc/passwd", "a/../../up.png", "C:\\up.png", "..\\up.png", "a\\..\\..\\b"]


def contents(path, limit=LIMIT):
    source = open_source(path)
    try:
        return source.contents(limit)
    finally:
        source.close()


def write_zip(path, *entries):
    """Entries are (name, content) or a ZipInfo; returns the path."""
    with zipfile.ZipFile(path, "w") as archive:
        for entry in entries:
            archive.writestr(*entry) if isinstance(entry, tuple) else archive.writestr(entry, b"x")
    return path


def write_tar(path, *infos):
    with tarfile.open(path, "w") as archive:
        for info in infos:
            archive.addfile(info, io.BytesIO(b"x" * info.size) if info.isreg() else None)
    return path


def tar_info(name, kind=tarfile.REGTYPE, target="", size=0):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return info


def test_all_kinds_of_sources_hold_the_same(tmp_path):
    tree = trees.smiyc(tmp_path / "tree")
    (tree / "__MACOSX").mkdir()
    (tree / "__MACOSX" / "a.png").touch()
    (tree / "images" / "._validation0000.jpg").touch()
    expected = {
        file.relative_to(tree).as_posix(): file.read_bytes()
        for folder in ("images", "labels_masks")
        for file in (tree / folder).iterdir()
        if not file.name.startswith(".")
    }
    assert len(expected) == 9
    archives = [
        tree,
        trees.zipped(tmp_path / "a.zip", tree),
        trees.tarred(tmp_path / "a.tar", tree),
        trees.tarred(tmp_path / "a.tar.gz", tree),
    ]
    for path in archives:
        source = open_source(path)
        found = source.contents(LIMIT)
        assert found.problems == []
        assert {member.name: member.open().read() for member in found.members} == expected
        assert all(member.size == len(expected[member.name]) for member in found.members)
        source.close()


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_lead_out_are_refused(tmp_path, name):
    for path in (
        write_zip(tmp_path / "a.zip", (name, "x"), ("good.png", "x")),
        write_tar(tmp_path / "a.tar", tar_info(name), tar_info("good.png")),
    ):
        found = contents(path)
        assert [member.name for member in found.members] == ["good.png"]
        expected = f"{path}: 1 entries refused, paths out of the folder: {name!r}"
        assert found.problems == [expected]


def test_links_and_devices_in_archives_are_refused(tmp_path):
    link, device, locked = (zipfile.ZipInfo(name) for name in ("link", "device", "locked"))
    for info, mode in ((link, 0o120777), (device, 0o020666)):
        info.create_system, info.external_attr = 3, mode << 16
    path = write_zip(tmp_path / "a.zip", link, device, locked, ("good.png", "x"))
    content = bytearray(path.read_bytes())
    # The flag of encryption, in the central directory, which is what counts.
    place = content.rindex(b"locked") - 46
    assert content[place : place + 4] == b"PK\x01\x02"
    content[place + 8] |= 1
    path.write_bytes(content)
    found = contents(path)
    assert [member.name for member in found.members] == ["good.png"]
    assert found.problems == [
        f"{path}: 1 entries refused, links: 'link'",
        f"{path}: 1 entries refused, devices or the like: 'device'",
        f"{path}: 1 entries refused, encrypted: 'locked'",
    ]
    path = write_tar(
        tmp_path / "a.tar",
        tar_info("soft", tarfile.SYMTYPE, "/etc/passwd"),
        tar_info("hard", tarfile.LNKTYPE, "good.png"),
        tar_info("tty", tarfile.CHRTYPE),
        tar_info("disk", tarfile.BLKTYPE),
        tar_info("pipe", tarfile.FIFOTYPE),
        tar_info("good.png"),
    )
    found = contents(path)
    assert [member.name for member in found.members] == ["good.png"]
    assert found.problems == [
        f"{path}: 2 entries refused, links: 'soft', 'hard'",
        f"{path}: 3 entries refused, devices or the like: 'tty', 'disk', 'pipe'",
    ]


def test_links_in_folders(tmp_path):
    trees.image(tmp_path / "elsewhere" / "secret.png")
    folder = tmp_path / "folder"
    trees.image(folder / "real" / "a.png")
    (folder / "out.png").symlink_to(tmp_path / "elsewhere" / "secret.png")
    (folder / "outdir").symlink_to(tmp_path / "elsewhere")
    (folder / "in.png").symlink_to(folder / "real" / "a.png")
    (folder / "indir").symlink_to(folder / "real")
    (folder / "broken.png").symlink_to(folder / "nowhere.png")
    os.mkfifo(folder / "pipe")
    (folder / ".hidden").symlink_to("/etc/passwd")
    found = contents(folder)
    assert [member.name for member in found.members] == ["in.png", "real/a.png"]
    outward = "links that lead out (give the folder behind them)"
    assert found.problems == [
        f"{folder}: 2 entries refused, no regular files: 'broken.png', 'pipe'",
        f"{folder}: 2 entries refused, {outward}: 'out.png', 'outdir'",
    ]
    # The folder that is given may itself be a link.
    (tmp_path / "shortcut").symlink_to(tmp_path / "elsewhere")
    assert [member.name for member in contents(tmp_path / "shortcut").members] == ["secret.png"]


def test_archives_that_declare_too_much_are_refused_before_they_are_read(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"{number}.png", bytes(600_000))
    assert path.stat().st_size < 10_000
    found = contents(path, limit=1_300_000)
    assert [member.name for member in found.members] == ["0.png", "1.png"]
    assert "declares more than 0.0 GB up to '2.png'" in found.problems[0]
    assert contents(path).problems == []
    # A header alone: the terabyte behind it does not even exist.
    path = tmp_path / "bomb.tar"
    path.write_bytes(tar_info("huge.png", size=10**12).tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    found = contents(path)
    assert found.members == []
    assert "'huge.png', more than this set can have; refused" in found.problems[0]
    # What lies on the disk is no bomb.
    assert contents(trees.smiyc(tmp_path / "tree"), limit=1).problems == []


def test_damaged_archives_are_named(tmp_path):
    tree = trees.smiyc(tmp_path / "tree")
    whole = trees.zipped(tmp_path / "whole.zip", tree)
    with pytest.raises(ValueError, match=r"whole\.zip is no folder and no whole zip.*cut off"):
        open_source(trees.cut(whole))
    packed = trees.cut(trees.tarred(tmp_path / "a.tar.gz", tree))
    assert "a.tar.gz is damaged" in contents(packed).problems[0]
    (tmp_path / "page.zip").write_text("<html>not found</html>")
    with pytest.raises(ValueError, match=r"page\.zip is no folder"):
        open_source(tmp_path / "page.zip")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.zip not found; give an archive"):
        open_source(tmp_path / "nowhere.zip")


def test_files_are_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "a.png"
    with whole_file(path) as file:
        file.write(b"first")
        assert not path.exists()
    assert path.read_bytes() == b"first"
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error):
            fail_halfway(path, error)
        assert path.read_bytes() == b"first"
        assert os.listdir(path.parent) == ["a.png"]


def fail_halfway(path, error):
    with whole_file(path) as file:
        file.write(b"half")
        raise error


def test_planted_links_are_not_written_through(tmp_path):
    outside = tmp_path / "outside.txt"
    outside.write_text("keep")
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / ".a.png.part").symlink_to(outside)
    with whole_file(folder / "a.png") as file:
        file.write(b"new")
    assert outside.read_text() == "keep"
    assert (folder / "a.png").read_bytes() == b"new"
    (folder / "images").symlink_to(tmp_path)
    for relative in ("images/a.png", "../a.png", "/a.png", "b/../../a.png"):
        with pytest.raises(ValueError, match="leads out of"):
            place_below(folder, relative)
    (folder / "real").mkdir()
    assert place_below(folder, "real/deep/a.png") == folder / "real" / "deep" / "a.png"
