"""Takes the browser's parts of npm packages into oneapi/static/vendor/, with their licences, and makes the icon sprite.

`make vendor` runs it; what it writes is committed, so that neither a build nor a running panel needs the network or
Node. Versions are pinned here: to take a newer one, change it, run, and look at `make screenshots`.
"""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

VENDOR = Path(__file__).parent.parent / "oneapi" / "static" / "vendor"

PACKAGES = {"@tabler/core": "1.6.1", "tom-select": "2.6.2", "@tabler/icons": "3.52.0"}

# Name under vendor/ -> file in node_modules.
FILES = {
    "tabler.min.css": "@tabler/core/dist/css/tabler.min.css",
    "tabler.min.js": "@tabler/core/dist/js/tabler.min.js",
    "tom-select.min.css": "tom-select/dist/css/tom-select.bootstrap5.min.css",
    "tom-select.min.js": "tom-select/dist/js/tom-select.complete.min.js",
    "tom-select.LICENSE.txt": "tom-select/LICENSE",
    "tabler-icons.LICENSE.txt": "@tabler/icons/LICENSE",
}


# Outline icons of the sprite; the panel writes {{ icon("home") }}.
ICONS = """
activity adjustments alert-circle alert-triangle api app-window arrow-back-up arrow-down arrow-left arrow-right
arrow-up arrows-sort ban bolt book box brand-github brand-openai brand-python brand-wechat bug building-store
calculator calendar cash chart-bar chart-line check checks chevron-down chevron-left chevron-right chevron-up
circle-check circle-x clipboard clock code coin copy cpu credit-card currency-dollar dashboard database details
device-desktop device-floppy dots dots-vertical download edit external-link eye eye-off file-export file-text filter
flask gift git-branch heart-rate-monitor heartbeat help history history-toggle home id info-circle key language
layout-list link list list-check lock lock-open login logout mail menu-2 message message-chatbot message-circle moon
network notes number-1 paperclip pencil photo player-play player-stop plug plus power qrcode receipt receipt-2 refresh
robot rocket rotate route rss search select-all send server settings share shield shield-check shield-lock
sort-ascending sort-descending sparkles sun sun-moon switch-horizontal tag tags terminal test-pipe ticket tool trash
trending-down trending-up upload user user-check user-circle user-minus user-plus users wallet wand wifi-off world x
zoom-in
""".split()  # noqa: SIM905


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        wanted = [f"{name}@{version}" for name, version in PACKAGES.items()]
        command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", folder, *wanted]
        subprocess.run(command, check=True)
        modules = Path(folder) / "node_modules"
        shutil.rmtree(VENDOR, ignore_errors=True)
        VENDOR.mkdir(parents=True)
        for name, source in FILES.items():
            text = (modules / source).read_text(encoding="utf-8")
            # Maps are not shipped, and a browser with open tools would ask for them.
            (VENDOR / name).write_text(re.sub(r"\n?(//|/\*)# sourceMappingURL=.*", "", text), encoding="utf-8")
        banner = re.search(r"/\*!.*?\*/", (VENDOR / "tabler.min.css").read_text(encoding="utf-8"), re.DOTALL)
        assert banner is not None
        (VENDOR / "tabler.LICENSE.txt").write_text(f"{banner[0]}\n\n{MIT}", encoding="utf-8")
        (VENDOR / "icons.svg").write_text(sprite(modules / "@tabler/icons/icons/outline"), encoding="utf-8")
        versions = "".join(f"{name} {version}\n" for name, version in sorted(PACKAGES.items()))
        (VENDOR / "VERSIONS.txt").write_text(versions, encoding="utf-8")


def sprite(folder: Path) -> str:
    """One file with a symbol for each icon."""
    symbols = []
    for name in sorted(set(ICONS)):
        drawing = (folder / f"{name}.svg").read_text(encoding="utf-8")
        body = re.sub(r"<!--.*?-->", "", drawing, flags=re.DOTALL)
        body = re.search(r"<svg[^>]*>(.*)</svg>", body, re.DOTALL)[1]  # type: ignore[index]
        body = re.sub(r'<path stroke="none"[^>]*/>', "", re.sub(r"\s*\n\s*", "", body))
        symbols.append(f'<symbol id="{name}" viewBox="0 0 24 24">{body}</symbol>\n')
    return f'<svg xmlns="http://www.w3.org/2000/svg">\n{"".join(symbols)}</svg>\n'


MIT = """\
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""

if __name__ == "__main__":
    main()
