"""The page in a real browser, on a desktop and on a phone."""

import contextlib

import pytest

from chimeramix_jax.data.identity import image_digest
from tests.report.test_page_in_browser import CHROMIUM, FLAGS, LEAST_CONTRAST, needs_chromium
from tests.serve.conftest import encoded, noise

PROBE = "() => {" + LEAST_CONTRAST.replace("<script>", "").replace("</script>", "") + "}"
CAMERA = ("use-fake-device-for-media-stream", "use-fake-ui-for-media-stream")
EXPECTED = "Failed to load resource"  # what browsers print about every photo that the server refuses

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def browser():
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        flags = [f"--{flag}" for flag in (*FLAGS, *CAMERA)]
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser):
    """Opens the page of a server; its context is closed with the test, which fails after errors in the page."""
    with contextlib.ExitStack() as stack:
        errors = []

        def opened(client, width=1280, *, touched=False, dark=False):
            context = browser.new_context(
                viewport={"width": width, "height": 740},
                color_scheme="dark" if dark else "light",
                has_touch=touched,
                is_mobile=touched,
                permissions=["camera"],
            )
            stack.callback(context.close)
            page = context.new_page()
            page.on("console", lambda message: errors.append(message.text))
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.goto(client.address)
            return page

        yield opened
        assert [error for error in errors if EXPECTED not in error] == []


def file(name="cat.png", seed=0, content=None):
    return {"name": name, "mimeType": "image/png", "buffer": encoded(noise(seed)) if content is None else content}


@pytest.mark.parametrize(("width", "touched"), [(1280, False), (375, True)], ids=["desktop", "phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_chosen_file_is_classified_and_explained(client, open_page, width, touched, dark):
    page = open_page(client, width, touched=touched, dark=dark)
    assert page.locator("#phone").is_visible() == touched and page.locator("#webcam").is_visible() != touched
    page.get_by_label("Choose a photo").set_input_files(file())
    page.locator("#details").wait_for()
    _, answer = client.post_photo(encoded(noise()))
    first = answer["classes"][0]
    assert page.locator("#verdict p").all_inner_texts() == [
        "cat.png",
        first["class"],
        f"{100 * first['probability']:.1f} %",
    ]
    assert page.locator("#bars li:visible").count() == 5
    page.get_by_role("button", name="Show all 10 classes").click()
    assert page.locator("#bars li:visible .name").all_inner_texts() == [row["class"] for row in answer["classes"]]
    assert page.locator("#nearest li").count() == 6
    widths = page.locator("#result img").evaluate_all("images => images.map(image => image.naturalWidth)")
    assert len(widths) == 8 and min(widths) > 0
    fits = page.locator("main img").evaluate_all("images => images.map(image => getComputedStyle(image).objectFit)")
    assert len(fits) == 9 and set(fits) == {"contain"}  # photos of other shapes are neither cropped nor squeezed
    page.evaluate(PROBE)
    found = page.evaluate("JSON.parse(document.body.dataset.found)")
    assert found["dark"] == dark and found["wide"] == 0 and found["checked"] > 30
    assert found["least"] >= 4.5, found["worst"]


def test_several_photos_one_after_the_other_and_back_to_the_first(client, open_page):
    page = open_page(client)
    chooser = page.locator("#file")
    chooser.set_input_files([file("first.png", 1), file("none.png", content=b"no image"), file("second.png", 2)])
    page.locator("#photos li").nth(1).wait_for()
    assert page.locator("#problems").inner_text().startswith("none.png is not an image as JPEG, PNG, WebP, ")
    assert page.locator("#verdict").inner_text().startswith("second.png")
    page.locator("#photos button").nth(1).press("Enter")  # by keyboard
    assert page.locator("#verdict").inner_text().startswith("first.png")
    assert page.locator("#photos [aria-current]").get_attribute("title") == "first.png"
    chooser.set_input_files(file("third.png", 3))
    page.locator("#photos li").nth(2).wait_for()
    assert page.locator("#problems").inner_text() == ""


def test_the_page_says_if_the_classifier_was_trained_on_the_photo(client, examiner, open_page, monkeypatch):
    monkeypatch.setattr(examiner._predictor, "_training_images", frozenset({image_digest(noise(1))}))
    page = open_page(client)
    sentence = page.get_by_text("The classifier was trained on this photo, so the answer says nothing about new ones.")
    for seed, shown in ((1, 1), (2, 0)):
        page.get_by_label("Choose a photo").set_input_files(file(f"{seed}.png", seed))
        page.locator("#verdict", has_text=f"{seed}.png").wait_for()
        assert sentence.count() == shown


def test_a_photo_can_be_dropped_and_pasted(client, open_page):
    page = open_page(client)
    for number, (event, data) in enumerate((("drop", "dataTransfer"), ("paste", "clipboardData"))):
        page.evaluate(
            """([event, data, bytes]) => {
              const transfer = new DataTransfer();
              transfer.items.add(new File([new Uint8Array(bytes)], `${event}.png`, {type: "image/png"}));
              const made = event === "drop" ? new DragEvent(event, {[data]: transfer, bubbles: true})
                : new ClipboardEvent(event, {[data]: transfer, bubbles: true});
              document.body.dispatchEvent(made);
            }""",
            [event, data, list(encoded(noise(number)))],
        )
        page.locator("#verdict", has_text=f"{event}.png").wait_for()


def test_a_photo_can_be_taken_with_the_camera(client, open_page):
    page = open_page(client)
    page.get_by_role("button", name="Use the camera").click()
    page.wait_for_timeout(100)
    for _ in range(50):  # until the camera has sent a picture
        if page.locator("#video").evaluate("video => video.videoWidth"):
            break
        page.wait_for_timeout(100)
    page.get_by_role("button", name="Take the photo").click()
    page.locator("#verdict", has_text="camera.jpg").wait_for()
    page.get_by_role("button", name="Close the camera").click()
    assert not page.locator("#viewfinder").is_visible()


def test_the_camera_that_was_requested_twice_is_closed(client, open_page):
    page = open_page(client)
    page.evaluate(
        """() => {
          const request = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
          window.streams = [];
          navigator.mediaDevices.getUserMedia = async wanted => {
            await new Promise(resolve => setTimeout(resolve, 200)); // as while the user is asked
            const stream = await request(wanted);
            window.streams.push(stream);
            return stream;
          };
          document.getElementById("webcam").click();
          document.getElementById("webcam").click();
        }"""
    )
    page.locator("#viewfinder").wait_for()
    page.wait_for_timeout(500)
    page.get_by_role("button", name="Close the camera").click()
    states = page.evaluate("streams.map(stream => stream.getTracks()[0].readyState)")
    assert states == ["ended"] and page.locator("#webcam").is_enabled()


def test_a_rejected_photo_is_none_of_these_and_names_are_shown_as_they_are(serving, open_page):
    reason = "A model file holds no training images."
    with serving(megabytes=1, reject_below=0.99, without_nearest=reason) as client:
        page = open_page(client, 375, touched=True)
        hostile = "<img src=x onerror=document.title=1>.png"
        page.locator("#file").set_input_files([file(hostile), file("large.png", content=bytes(1_000_001))])
        page.locator("#details").wait_for()
        name, answer, share = page.locator("#verdict p").all_inner_texts()
        assert (name, answer) == (hostile, "none of these") and share.endswith("which is below 99.0 %")
        assert page.locator("#problems").inner_text() == "large.png is larger than 1 MB; reduce its size first."
        assert page.get_by_text(reason).is_visible()


def test_a_server_that_has_ended_is_said(serving, open_page):
    with serving() as client:
        page = open_page(client)
    page.locator("#file").set_input_files(file())
    page.locator("#problems p").wait_for()
    assert page.locator("#problems").inner_text() == "cat.png could not be sent. Is the server still running?"
