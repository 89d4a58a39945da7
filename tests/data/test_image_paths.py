import os
import shutil
import tempfile
import unicodedata
import warnings
from pathlib import Path

import pytest

from chimeramix_jax.data.image_paths import IgnoredFilesWarning, around, find, find_each
from chimeramix_jax.errors import InputError
from chimeramix_jax.files import whole_folder


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IgnoredFilesWarning)
        yield


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("photos/b.png", "photos/a.png", "photos/more/c.jpg", "photos/.hidden", "photos/Thumbs.db", "x,y.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def names(named):
    return [path.as_posix() for path in find(named)]


def test_a_folder_means_all_its_visible_files_at_any_depth(photos):
    assert names("photos") == ["photos/a.png", "photos/b.png", "photos/more/c.jpg"]


def test_a_pattern_means_all_matching_files(photos):
    assert names("photos/*.png") == ["photos/a.png", "photos/b.png"]
    assert names("photos/**/*.jpg") == ["photos/more/c.jpg"]


def test_several_names_are_separated_by_commas_and_each_file_is_listed_once(photos):
    wanted = ["photos/b.png", "photos/a.png", "photos/more/c.jpg"]
    assert names("photos/b.png, photos") == names(["photos/b.png,photos/a.png", "photos"]) == wanted


def test_each_path_of_a_list_means_one_file_unless_it_is_a_folder_or_a_pattern_that_matches(photos):
    Path("photos/circle").symlink_to("../photos")
    listed = ["photos/a.png", Path("photos/a.png"), "none,a.png", " b.png", "photos/[none].png", "-"]
    assert find_each(listed) == [[Path(name)] for name in listed]
    folder, pattern, twice = find_each(["photos", "photos/*/b.png", Path("photos/b.png")])
    assert [path.as_posix() for path in folder] == ["photos/a.png", "photos/b.png", "photos/more/c.jpg"]
    assert (pattern, twice) == ([Path("photos/circle/b.png")], [Path("photos/b.png")])
    for name, message in (("", "is empty"), ("gs://bucket/a.png", "is a URL")):
        before, error, after = find_each(["a", name, "b"])
        assert isinstance(error, InputError) and message in str(error) and (before, after) == ([Path("a")], [Path("b")])
    os.mkdir("empty")
    with pytest.raises(InputError, match="the folder empty contains no images"):
        find_each(["a", "empty"])


def test_an_existing_file_with_a_comma_in_its_name_is_not_split(photos):
    assert names("x,y.png") == ["x,y.png"]


def test_a_missing_file_is_listed_so_that_its_reader_reports_it(photos):
    assert names("photos/a.png,photos/d.png") == ["photos/a.png", "photos/d.png"]


@pytest.mark.parametrize("named", ["", ",", [], ["", ","]])
def test_naming_nothing_is_refused(photos, named):
    with pytest.raises(InputError, match="--images: names no image"):
        find(named)


def test_a_pattern_that_matches_nothing_and_an_empty_folder_are_refused(photos):
    with pytest.raises(InputError, match=r"--images: no file matches '\*.gif'"):
        find("*.gif")
    os.mkdir("empty")
    with pytest.raises(InputError, match="--images: the folder empty contains no images"):
        find("empty")


def test_linked_folders_are_entered_and_loops_of_links_end(photos):
    Path("album").mkdir()
    Path("album/d.png").touch()
    Path("photos/album").symlink_to("../album")
    Path("photos/circle").symlink_to("../photos")
    wanted = ["photos/a.png", "photos/b.png", "photos/album/d.png", "photos/more/c.jpg"]
    assert names("photos") == wanted
    assert sorted(names("photos/**/*.*")) == sorted(wanted)


def test_folders_that_match_a_pattern_mean_their_files(photos):
    for name in ("trip-1/a.png", "trip-2/deep/b.png", "trip-cover.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    Path("trip-empty").mkdir()
    assert names("trip-*") == ["trip-1/a.png", "trip-2/deep/b.png", "trip-cover.png"]


def test_brackets_in_the_name_of_an_existing_folder_are_literal(photos):
    Path("[2024] trip*").mkdir()
    for name in ("[2024] trip*/a.png", "[2024] trip*/b.png"):
        Path(name).touch()
    assert names("[2024] trip*/[a].png") == ["[2024] trip*/a.png"]
    assert names(str(Path.cwd() / "[2024] trip*" / "*")) == [
        str(Path.cwd() / "[2024] trip*" / name) for name in ("a.png", "b.png")
    ]


def test_a_single_file_that_is_not_an_image_is_ignored_in_the_singular(photos):
    Path("photos/more/notes.txt").touch()
    with pytest.warns(IgnoredFilesWarning, match=r"ignored 1 file or folder that is not an image: \S+/notes.txt"):
        find("photos/more")


def test_files_that_are_not_images_are_ignored_and_counted_in_one_line(photos):
    for name in ("photos/@eaDir/a.png/thumb.jpg", "photos/._b.png", "photos/notes.txt", "photos/more/IMG.MOV"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    with pytest.warns(IgnoredFilesWarning) as warned:
        assert names("photos") == ["photos/a.png", "photos/b.png", "photos/more/c.jpg"]
    assert len(warned) == 1
    assert str(warned[0].message).startswith("--images: ignored 6 files and folders that are not images: ")
    assert "photos/@eaDir" in str(warned[0].message) and str(warned[0].message).endswith(" and 1 more")
    with pytest.warns(IgnoredFilesWarning, match="ignored 2 "):
        assert names("photos/*.*") == ["photos/a.png", "photos/b.png"]  # a star does not match hidden files
    assert names("photos/notes.txt") == [
        "photos/notes.txt"
    ]  # a file that is named itself is left for the reader to refuse
    with pytest.raises(InputError, match=r"no file that matches .* is an image"):
        find("photos/*.txt")


def test_files_of_every_kind_that_the_documentation_names_are_ignored(photos):
    ends = "txt csv pdf pptx py ipynb exe zip tar tar.gz tgz 7z rar npz mp4 mpg wmv mp3 flac svg xmp aae bak"
    for end in ends.split():
        (Path("photos") / f"beside.{end}").touch()
    with pytest.warns(IgnoredFilesWarning, match=f"ignored {len(ends.split()) + 2} files"):
        assert names("photos") == ["photos/a.png", "photos/b.png", "photos/more/c.jpg"]


def test_raw_files_and_backup_copies_are_ignored_and_raw_files_are_said_not_to_be_read(photos):
    for name in ("a.DNG", "a.nef", "a.jpg_original", "a.png~", "a.jpg.bak", "a.webm", "a.svg", "cat_original.jpg"):
        (Path("photos") / name).touch()
    with pytest.warns(IgnoredFilesWarning) as warned:
        found = names("photos")
    assert found == ["photos/a.png", "photos/b.png", "photos/cat_original.jpg", "photos/more/c.jpg"]
    assert str(warned[0].message).startswith("--images: ignored 9 files and folders that are not images: ")
    assert str(warned[0].message).endswith("; camera raw files are not read, so convert them to JPEG, PNG or TIFF")
    assert names("photos/a.nef") == ["photos/a.nef"]  # it is named itself, so its reader refuses it
    with pytest.raises(InputError, match=r"no file that matches .* is an image; camera raw files are not read"):
        find("photos/*.nef")
    os.mkdir("raw")
    Path("raw/a.CR3").touch()
    with pytest.raises(InputError, match="the folder raw contains no images; camera raw files are not read"):
        find("raw")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_are_found_in_both_unicode_forms(photos, form):
    other = "NFD" if form == "NFC" else "NFC"
    Path(unicodedata.normalize(form, "Bäume.png")).touch()
    assert find(unicodedata.normalize(other, "Bäume.png"))[0].exists()
    assert names(unicodedata.normalize(other, "Bä*.png")) == [unicodedata.normalize(form, "Bäume.png")]


def test_a_url_is_refused(photos):
    with pytest.raises(InputError, match="is a URL"):
        find("photos,gs://bucket/photos")


def test_a_tilde_is_expanded_to_the_home_folder(photos, monkeypatch):
    monkeypatch.setenv("HOME", str(Path.cwd()))
    assert len(find("~/photos,~/x,y.png")) == 4


def test_commas_in_names_of_existing_files_and_folders_separate_nothing(photos):
    for name in ("my, trip/1.jpg", "my, trip/2.jpg", "trip/3.jpg", "my"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    trip = ["my, trip/1.jpg", "my, trip/2.jpg"]
    assert names("my, trip/*.jpg") == names("photos/none.gif, my, trip/*.jpg")[1:] == trip
    assert names("my, trip/1.jpg,photos/a.png") == ["my, trip/1.jpg", "photos/a.png"]
    assert names("photos/a.png, x,y.png, my, trip/1.jpg") == ["photos/a.png", "x,y.png", "my, trip/1.jpg"]
    assert names("my, trip/none.jpg,my") == ["my, trip/none.jpg", "my"]
    for name in ("my, trip/on, and/4, 5.jpg", "x,y.png,z.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    assert names("trip/3.jpg,my, trip/on, and/4, 5.jpg,my, trip/on, and/[4]*") == [
        "trip/3.jpg",
        "my, trip/on, and/4, 5.jpg",
    ]
    assert names("my,x,y.png,z.png ,x,y.png") == ["my", "x,y.png,z.png", "x,y.png"]
    assert names("trip/*.jpg, photos/*.png") == ["trip/3.jpg", "photos/a.png", "photos/b.png"]


def test_a_pattern_ends_in_loops_of_links_however_many_lead_upwards(photos):
    Path("loops/deep").mkdir(parents=True)
    Path("loops/deep/1.jpg").touch()
    for name in ("up", "again"):
        Path("loops/deep", name).symlink_to("..")
    assert names("loops/**/*.jpg") == names("loops/**/**/*.jpg") == names("**/deep/*.jpg") == ["loops/deep/1.jpg"]
    assert names("loops/**") == ["loops/deep/1.jpg"]


@pytest.fixture
def closable():
    """A folder that users other than root may enter; root becomes one of them, as every folder is open for root."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield folder
    for path in folder.glob("*"):
        path.chmod(0o700)
    os.seteuid(user)
    shutil.rmtree(folder)


@pytest.mark.parametrize("mode", [0o000, 0o444])  # not to be listed, and to be listed only
def test_a_pattern_through_a_closed_folder_is_refused(closable, mode):
    for name in ("open/1.jpg", "closed/2.jpg", "closed/deep/3.jpg"):
        (closable / name).parent.mkdir(parents=True, exist_ok=True)
        (closable / name).touch()
    (closable / "closed").chmod(mode)
    for pattern in ("*/deep/*.jpg", "**/*.jpg", "*/*/*.jpg"):
        with pytest.raises(InputError, match=r"^--images: \S+/closed\S* cannot be read: Permission denied$"):
            find(f"{closable}/{pattern}")
    assert names(f"{closable}/o*/*.jpg") == [f"{closable}/open/1.jpg"]


@pytest.mark.parametrize("named", ["photos", "photos/*", "photos/**/*.png"])
def test_pipes_among_images_are_ignored_with_a_word_and_read_only_if_named(photos, named):
    os.mkfifo("photos/pipe.png")
    Path("photos/link.png").symlink_to("pipe.png")
    Path("photos/gone.png").symlink_to("nowhere")
    with pytest.warns(IgnoredFilesWarning, match=r"ignored .*photos/link\.png, photos/pipe\.png"):
        found = names(named)
    assert [name for name in found if name.endswith("png")] == ["photos/a.png", "photos/b.png", "photos/gone.png"]
    assert names("photos/pipe.png") == ["photos/pipe.png"]


def test_temporary_files_and_folders_of_this_program_are_ignored_without_a_word(photos, tmp_path):
    for name in (".hidden", "Thumbs.db"):
        Path("photos", name).unlink()
    with whole_folder(Path("photos/why")) as unfinished, warnings.catch_warnings():
        (unfinished / "a.png").touch()
        warnings.simplefilter("error")
        assert names("photos") == ["photos/a.png", "photos/b.png", "photos/more/c.jpg"]


def test_standard_input_has_no_short_name(photos):
    with pytest.raises(InputError, match=r"--images=-: standard input is read only as /dev/stdin"):
        find("-")
    Path("-").touch()
    assert names("./-") == ["-"]


@pytest.mark.parametrize(
    ("named", "folder", "expected"),
    [
        ("photos", "photos/why", "photos"),
        ("photos,more", "photos/new/why", "photos"),
        (["x,y.png", Path("photos")], "photos/why", "photos"),
        (["more,photos", "gs://bucket", ""], "photos/why", None),
        ("photos/**/*.png", "photos/why", "photos/**/*.png"),
        ("photos/*", "photos/why", "photos/*"),
        ("*/*.png", "why", "*/*.png"),
        (".", "why", "."),
        ("linked", "photos/why", "linked"),
        ("photos/*.png", "photos/why", None),
        ("photos/a.png", "photos/why", None),
        ("photos/more/**", "photos/why", None),
        ("photos", "photos-why", None),
        ("none", "none/why", "none"),
    ],
)
def test_a_folder_among_images_is_known_before_it_exists(photos, named, folder, expected):
    Path("linked").symlink_to("photos")
    assert around(Path(folder), named) == expected
