"""A report as a reader meets it: in headless Chromium, off the network, wide and narrow, light and dark, on paper."""

import json
import shutil
from pathlib import Path

import pytest

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
LOCAL = ("file:", "data:", "blob:", "about:")
LEAST_CONTRAST = 4.5
WIDE, NARROW = 1280, 360
# Half seconds that figures may take on a busy machine.
PATIENCE = 240
MOMENTS = 12

# Text of every visible element with too little contrast against what lies behind it, as WCAG 2 counts it.
FAINT = """
(least) => {
  const parse = (text) => {
    const found = text.match(/[\\d.]+/g)?.map(Number) ?? [0, 0, 0, 0];
    return [found[0], found[1], found[2], found[3] ?? 1];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const linear = (value) => value <= 10.314 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4;
  const luminance = (rgb) => 0.2126 * linear(rgb[0]) + 0.7152 * linear(rgb[1]) + 0.0722 * linear(rgb[2]);
  const behind = (element) => {
    const layers = [];
    for (let node = element; node; node = node.parentElement) {
      const color = parse(getComputedStyle(node).backgroundColor);
      if (color[3] > 0) layers.push(color);
      if (color[3] === 1) break;
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const faint = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const words = texts.currentNode.textContent.trim(), element = texts.currentNode.parentElement;
    if (!words || element.closest("script, style, desc, title, .visually-hidden, .skip, .role-mark")) continue;
    const style = getComputedStyle(element), box = element.getBoundingClientRect();
    if (style.visibility === "hidden" || !box.width || !box.height) continue;
    const isDrawn = element.closest("svg") !== null;
    const ground = behind(isDrawn ? element.closest("svg").parentElement : element);
    const [a, b] = [luminance(over(parse(isDrawn ? style.fill : style.color), ground)), luminance(ground)];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < least) faint.push(`${contrast.toFixed(2)}: ${words.slice(0, 40)} <${element.tagName}>`);
  }
  return [...new Set(faint)];
}
"""

# Whether each figure is drawn, with a size, and where print or a missing script leaves the static one.
DRAWN = """
(kind) => [...document.querySelectorAll(".figure")].map((figure) => {
  const box = figure.querySelector(`.${kind} svg, .${kind} canvas`)?.getBoundingClientRect();
  return [figure.dataset.figure, Boolean(box && box.width > 40 && box.height > 40)];
})
"""

# Live figures with text beyond their box, or drawn larger than it and then shrunk.
CUT = """
() => [...document.querySelectorAll(".live")].filter((live) => {
  const box = live.getBoundingClientRect(), svg = live.querySelector("svg");
  if (!svg || !box.width) return false;
  const beyond = (text) => {
    const { left, right, bottom, width } = text.getBoundingClientRect();
    return width && (left < box.left - 1 || right > box.right + 1 || bottom > box.bottom + 1);
  };
  return Number(svg.getAttribute("width")) > box.width + 1 || [...svg.querySelectorAll("text")].some(beyond);
}).map((live) => live.closest(".figure").dataset.figure)
"""

SCROLL_THROUGH = """
async () => {
  document.querySelectorAll("details").forEach((fold) => { fold.open = true; });
  for (const figure of document.querySelectorAll(".figure")) {
    figure.scrollIntoView({ behavior: "instant" });
    await new Promise((done) => setTimeout(done, 20));
  }
}
"""


def chromium():
    """Path of Debian's Chromium; the calling test skips where it or playwright is missing."""
    pytest.importorskip("playwright", reason="playwright is not installed: pip install playwright")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    return path


def check_page(folder):
    """Assert that the report in a folder (``index.html`` beside ``results.json``) works for its readers.

    Every card and figure is there, no request leaves the machine, no script fails, nothing scrolls sideways at
    1280 and 360 pixels, no figure is cut off, text stands out in the light and in the dark, the keyboard reaches the
    content and opens folds, and print and a browser without scripts show the static figures.
    """
    from playwright.sync_api import sync_playwright

    executable = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        try:
            problems = [
                *_problems_on_screen(browser, folder, WIDE, "light"),
                *_problems_on_screen(browser, folder, NARROW, "dark"),
                *_problems_of_the_keyboard(browser, folder),
                *_problems_on_paper(browser, folder),
                *_problems_without_scripts(browser, folder),
            ]
        finally:
            browser.close()
    assert not problems, "\n".join(problems)


def _open(browser, folder, **options):
    """A page with what it asked for and what went wrong, off the network."""
    context = browser.new_context(offline=True, **options)
    page = context.new_page()
    asked, failed = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: failed.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.goto((Path(folder).resolve() / "index.html").as_uri())
    return page, asked, failed


def _problems_on_screen(browser, folder, width, scheme):
    page, asked, failed = _open(browser, folder, viewport={"width": width, "height": 800}, color_scheme=scheme)
    where = f"at {width} px, {scheme}"
    sideways = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    page.evaluate(SCROLL_THROUGH)
    live = "document.querySelectorAll('.figure:not(.is-live, [data-failed])').length === 0"
    # On a busy machine the scroll may outrun a figure: what is still missing is brought into view, one at a time.
    for _ in range(PATIENCE):
        if page.evaluate(live):
            break
        page.evaluate("document.querySelector('.figure:not(.is-live, [data-failed])').scrollIntoView()")
        page.wait_for_timeout(500)
    else:
        failed.append("waited in vain for the figures")
    sideways = max(sideways, page.evaluate("document.documentElement.scrollWidth - innerWidth"))
    problems = [
        f"{where}: figure {name} is not drawn" for name, is_drawn in page.evaluate(DRAWN, "live") if not is_drawn
    ]
    problems += [f"{where}: figure {name} is cut off" for name in _lasting(page, CUT)]
    problems += [f"{where}: request to {url[:100]}" for url in asked if not url.startswith(LOCAL)]
    problems += [f"{where}: {text}" for text in failed]
    problems += [f"{where}: the page scrolls sideways by {sideways} px"] if sideways > 0 else []
    problems += [f"{where}: contrast {text}" for text in page.evaluate(FAINT, LEAST_CONTRAST)]
    problems += [f"{where}: {text}" for text in _missing(page, folder)]
    page.context.close()
    return problems


def _lasting(page, question):
    """What a question still names when figures that are drawn anew, for a new width, had their time."""
    for _ in range(MOMENTS):
        if not page.evaluate(question):
            break
        page.wait_for_timeout(500)
    return page.evaluate(question)


def _missing(page, folder):
    """Claims without a visible card, a link to it or the right verdict on it, and figures that no card holds."""
    claims = json.loads((Path(folder) / "results.json").read_text())["claims"]
    cards = page.evaluate(
        "[...document.querySelectorAll('[data-claim]')].map((card) => [card.dataset.claim, "
        "card.querySelector('.verdict')?.textContent.trim(), card.getBoundingClientRect().height > 100])"
    )
    links = set(page.evaluate("[...document.querySelectorAll('.all a')].map((link) => link.hash.slice(1))"))
    shown = set(page.evaluate("[...document.querySelectorAll('.figure')].map((figure) => figure.dataset.figure)"))
    found = {claim: (verdict, is_visible) for claim, verdict, is_visible in cards}
    for claim in claims:
        if found.get(claim["id"]) != (claim["verdict"], True):
            yield f"the card of {claim['id']} is {found.get(claim['id'])}, not {claim['verdict']} and visible"
        if claim["id"] not in links:
            yield f"the overview has no link to {claim['id']}"
        for figure in claim["evidence"]["figures"]:
            if figure["name"] not in shown:
                yield f"figure {figure['name']} of {claim['id']} is not on the page"


def _problems_of_the_keyboard(browser, folder):
    page, _, _ = _open(browser, folder, viewport={"width": WIDE, "height": 800})
    problems = []
    page.keyboard.press("Tab")
    if not page.evaluate("document.activeElement.matches('.skip')"):
        problems.append("keyboard: the first Tab does not reach the skip link")
    page.keyboard.press("Enter")
    if not page.evaluate("document.activeElement.id === 'main'"):
        problems.append("keyboard: the skip link does not lead to the content")
    if page.evaluate("(document.querySelector('summary')?.focus(), document.querySelector('summary') !== null)"):
        before = page.evaluate("document.activeElement.parentElement.open")
        page.keyboard.press("Enter")
        if page.evaluate("document.activeElement.parentElement.open") == before:
            problems.append("keyboard: Enter does not toggle a fold")
    page.context.close()
    return problems


def _problems_on_paper(browser, folder):
    # The reader prints from a dark screen; paper is white all the same.
    page, _, _ = _open(browser, folder, viewport={"width": WIDE, "height": 800}, color_scheme="dark")
    page.wait_for_function("document.querySelectorAll('.figure').length === 0 || document.querySelector('.is-live')")
    page.emulate_media(media="print", color_scheme="dark")
    # Figures inside folds have no size before the fold opens; print opens folds by itself.
    problems = [f"print: figure {name} is missing" for name, is_drawn in page.evaluate(DRAWN, "static") if not is_drawn]
    problems += [f"print: figure {name} is there twice" for name, is_drawn in page.evaluate(DRAWN, "live") if is_drawn]
    flat = "[...document.querySelectorAll('details pre')].filter((code) => code.getBoundingClientRect().height < 10)"
    num_folded = page.evaluate(f"{flat}.length")
    problems += [f"print: {num_folded} snippets are folded away"] if num_folded else []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    problems += [f"print: the paper is {ground}"] if ground != "rgb(255, 255, 255)" else []
    problems += [f"print: contrast {text}" for text in page.evaluate(FAINT, LEAST_CONTRAST)]
    page.context.close()
    return problems


def _problems_without_scripts(browser, folder):
    page, _, _ = _open(browser, folder, viewport={"width": WIDE, "height": 800}, java_script_enabled=False)
    # A page without scripts cannot be asked by one: its boxes are measured from outside.
    outside_folds = page.locator(".figure:not(details .figure) .static svg")
    boxes = [outside_folds.nth(i).bounding_box() for i in range(outside_folds.count())]
    problems = ["no scripts: a static figure is not visible"] if not all(boxes) else []
    page.context.close()
    return problems
