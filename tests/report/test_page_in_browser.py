"""The page in a real browser."""

import html
import json
import re
import shutil
import subprocess

import pytest

# Runs in the page: finds the text with the lowest contrast to its background.
LEAST_CONTRAST = """
<script>
function channels(text) {
  const values = text.match(/[\\d.]+/g).map(Number), scale = text.startsWith("color(") ? 255 : 1;
  return {rgb: values.slice(0, 3).map(value => scale * value), alpha: values.length > 3 ? values[3] : 1};
}
function luminance(rgb) {
  const linear = rgb.map(value => value / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
}
function ground(element) {
  for (let at = element; at; at = at.parentElement) {
    const {rgb, alpha} = channels(getComputedStyle(at).backgroundColor);
    if (alpha === 1) return rgb;
    if (alpha > 0) throw new Error("half transparent");
  }
  throw new Error("no background");
}
document.querySelectorAll("details").forEach(element => element.open = true);
let least = 99, checked = 0, worst = "";
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement, style = getComputedStyle(element);
  if (!walker.currentNode.data.trim() || element.tagName === "SCRIPT" || parseFloat(style.fontSize) === 0) continue;
  const ink = channels(element.namespaceURI.endsWith("svg") ? style.fill : style.color);
  const [a, b] = [luminance(ink.rgb), luminance(ground(element))].sort((x, y) => y - x);
  const contrast = (a + 0.05) / (b + 0.05);
  checked += 1;
  if (contrast < least) { least = contrast; worst = walker.currentNode.data.trim(); }
}
const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
const dark = matchMedia("(prefers-color-scheme: dark)").matches;
document.body.dataset.found = JSON.stringify({least, checked, worst, wide, dark});
</script>
"""


FLAGS = ("no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking")
FLAGS += ("disable-component-update", "disable-sync")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@needs_chromium
def test_a_browser_reports_no_errors(written, tmp_path):
    shown = browse(written[0].report.read_text(encoding="utf-8"), tmp_path, 1200, False)
    assert "CONSOLE" not in shown.stderr
    assert "<title>digits, 5 images per class" in shown.stdout


# Runs before the page's script: stands for the clipboard, which a page opened from a file may not use.
CLIPBOARD = """
<script>
const written = [];
Object.defineProperty(navigator, "clipboard", {value: {writeText: async text => {
  if (%s) throw new Error("not allowed");
  written.push(text);
}}});
addEventListener("load", async () => {
  const button = document.querySelector("button.copy"), command = button.previousElementSibling;
  button.click();
  for (let step = 0; step < 20; step++) await null; // no timers: the browser writes the page once it is loaded
  const said = document.querySelector("[role=status]").textContent;
  const selected = String(getSelection()) === command.textContent;
  document.body.dataset.found = JSON.stringify({said, selected, copied: written[0] === command.textContent});
});
</script>
"""


@needs_chromium
@pytest.mark.parametrize("refused", [False, True])
def test_screen_readers_hear_whether_a_command_was_copied_or_selected(written, tmp_path, refused):
    original = written[0].report.read_text(encoding="utf-8")
    policy = re.search(r"<meta http-equiv=.*>\n", original)[0]
    script = CLIPBOARD % str(refused).lower()
    shown = browse(original.replace(policy, "").replace("</head>", f"{script}</head>"), tmp_path, 1200, False)
    assert "CONSOLE" not in shown.stderr
    found = json.loads(html.unescape(re.search(r'data-found="([^"]*)"', shown.stdout)[1]))
    assert (found["selected"], found["copied"]) == (refused, not refused)
    assert found["said"].startswith("The command could not be copied." if refused else "The command was copied.")


@needs_chromium
@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_in_a_browser_all_text_has_contrast_and_nothing_overflows(written, tmp_path, width, dark):
    original = written[0].report.read_text(encoding="utf-8")
    policy = re.search(r"<meta http-equiv=.*>\n", original)[0]  # forbids all scripts, including this one
    probed = browse(original.replace(policy, "").replace("</body>", f"{LEAST_CONTRAST}</body>"), tmp_path, width, dark)
    assert "CONSOLE" not in probed.stderr
    found = json.loads(html.unescape(re.search(r'data-found="([^"]*)"', probed.stdout)[1]))
    assert found["dark"] == dark
    assert found["checked"] > 200
    assert found["least"] >= 4.5, found["worst"]
    assert found["wide"] == 0


@needs_chromium
def test_a_page_of_ten_classes_of_fifty_photos_takes_less_than_a_second_to_load(photo_run):
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[f"--{flag}" for flag in FLAGS])
        page = browser.new_page()
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable")
        page.goto(photo_run[0].report.as_uri(), wait_until="load")
        measured = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
        browser.close()
    assert measured["ProcessTime"] < 1.0  # of the processor, as other programs may keep the processor busy


def browse(page: str, folder, width: int, dark: bool) -> subprocess.CompletedProcess[str]:
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    flags = [*FLAGS, "headless", "enable-logging=stderr", f"window-size={width},900", "dump-dom"]
    command = [CHROMIUM, *(f"--{flag}" for flag in flags), f"--user-data-dir={folder / 'profile'}"]
    command += ["--force-dark-mode"] * dark
    return subprocess.run([*command, path.as_uri()], capture_output=True, text=True, timeout=120, check=True)
