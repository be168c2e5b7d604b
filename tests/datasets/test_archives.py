"""Archives and folders from elsewhere: what they hold, and what is refused by name."""

import io
import os
import re
import tarfile
import zipfile
from contextlib import ExitStack

import pytest
import trees

from ood_seg.datasets.setup.archives import leads_below, list_members

LIMIT = 10**9
OUTSIDE = ["../up.png", "/etc/passwd", "a/../../up.png", "C:\\up.png", "..\\up.png", "a\\..\\..\\b"]


def listed(path, limit=LIMIT):
    """Names of the members, and the problems."""
    with ExitStack() as stack:
        members, problems = list_members(path, stack, limit=limit)
    return [member.name for member in members], problems


def require_refused(path, *names):
    """All of these names are refused, and 'good.png' is not."""
    found, problems = listed(path)
    assert found == ["good.png"]
    pattern = rf"{re.escape(str(path))}: {len(names)} entries refused, .*: "
    assert re.fullmatch(pattern + re.escape(", ".join(map(repr, names))), problems[0])
    assert len(problems) == 1


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


def test_all_kinds_of_containers_hold_the_same(tmp_path):
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
        with ExitStack() as stack:
            members, problems = list_members(path, stack, limit=LIMIT)
            assert problems == []
            assert {member.name: member.read() for member in members} == expected
        assert all(member.size == len(expected[member.name]) for member in members)


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_lead_outside_are_refused(tmp_path, name):
    require_refused(write_zip(tmp_path / "a.zip", (name, "x"), ("good.png", "x")), name)
    require_refused(write_tar(tmp_path / "a.tar", tar_info(name), tar_info("good.png")), name)
    folder = tar_info(name, tarfile.DIRTYPE)
    require_refused(write_tar(tmp_path / "b.tar", folder, tar_info("good.png")), name)


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
    require_refused(path, "link", "device", "locked")
    path = write_tar(
        tmp_path / "a.tar",
        tar_info("soft", tarfile.SYMTYPE, "/etc/passwd"),
        tar_info("hard", tarfile.LNKTYPE, "good.png"),
        tar_info("tty", tarfile.CHRTYPE),
        tar_info("disk", tarfile.BLKTYPE),
        tar_info("pipe", tarfile.FIFOTYPE),
        tar_info("good.png"),
    )
    require_refused(path, "soft", "hard", "tty", "disk", "pipe")


def test_links_in_folders(tmp_path):
    trees.image(tmp_path / "elsewhere" / "secret.png")
    folder = tmp_path / "folder"
    trees.image(folder / "real" / "a.png")
    (folder / "out.png").symlink_to(tmp_path / "elsewhere" / "secret.png")
    (folder / "outdir").symlink_to(tmp_path / "elsewhere")
    (folder / "in.png").symlink_to(folder / "real" / "a.png")
    (folder / "indir").symlink_to(folder / "real")
    (folder / "broken.png").symlink_to(folder / "nowhere.png")
    (folder / "loop.png").symlink_to("loop.png")
    os.mkfifo(folder / "pipe")
    (folder / ".hidden").symlink_to("/etc/passwd")
    found, problems = listed(folder)
    assert found == ["in.png", "real/a.png"]
    refused = ["'broken.png'", "'loop.png'", "'out.png'", "'outdir'", "'pipe'"]
    assert problems[0].startswith(f"{folder}: 5 entries refused, ")
    assert problems[0].endswith(": " + ", ".join(refused))
    # The folder that is given may itself be a link.
    (tmp_path / "shortcut").symlink_to(tmp_path / "elsewhere")
    assert listed(tmp_path / "shortcut") == (["secret.png"], [])


def test_archives_that_declare_too_much_are_refused_before_they_are_read(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"{number}.png", bytes(600_000))
    assert path.stat().st_size < 10_000
    found, problems = listed(path, limit=1_300_000)
    assert found == ["0.png", "1.png"]
    assert "declares more than 0.0 GB up to '2.png'" in problems[0]
    assert listed(path)[1] == []
    # A header alone: the terabyte behind it does not even exist.
    path = tmp_path / "bomb.tar"
    path.write_bytes(tar_info("huge.png", size=10**12).tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    found, problems = listed(path)
    assert found == []
    assert "declares more than 1.0 GB up to 'huge.png'" in problems[0]
    # What lies on the disk is no bomb.
    assert listed(trees.smiyc(tmp_path / "tree"), limit=1)[1] == []


def test_damaged_archives_are_named(tmp_path):
    tree = trees.smiyc(tmp_path / "tree")
    whole = trees.zipped(tmp_path / "whole.zip", tree)
    with pytest.raises(ValueError, match=r"whole\.zip is neither"):
        listed(trees.cut(whole))
    packed = trees.cut(trees.tarred(tmp_path / "a.tar.gz", tree))
    assert "a.tar.gz is damaged" in listed(packed)[1][0]
    (tmp_path / "page.zip").write_text("<html>not found</html>")
    with pytest.raises(ValueError, match=r"page\.zip is neither"):
        listed(tmp_path / "page.zip")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.zip not found; give an archive"):
        listed(tmp_path / "nowhere.zip")


def test_places_below_a_folder(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "images").symlink_to(tmp_path)
    for relative in ("images/a.png", "../a.png", "/a.png", "b/../../a.png"):
        assert not leads_below(folder, relative)
    (folder / "real").mkdir()
    assert leads_below(folder, "real/deep/a.png")
    (folder / "loop").symlink_to("loop")
    assert leads_below(folder, "loop/a.png")  # where nothing can be opened
    assert leads_below(tmp_path / "new", "a.png")
