"""Draw `infra/docs/terminal.svg`: commands of `rayon` with what they print in a terminal.

    python -m infra.ci.terminal infra/docs/terminal.svg "rayon classify Coussin" "rayon releases"

The commands run in a pseudo-terminal of 80 columns, against the system of the last `rayon login`.
"""

import argparse
import errno
import fcntl
import io
import os
import pty
import shlex
import struct
import subprocess
import sys
import termios
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

ROWS, COLUMNS = 40, 80
#: Without fonts of other sites, which rich's own form names.
FORM = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<title>rayon in a terminal</title>
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace;
font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
{styles}
</style>
<defs>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})">{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the commands, draw their output, and return the exit code of the first that failed."""
    parser = argparse.ArgumentParser(prog="python -m infra.ci.terminal", description=__doc__)
    parser.add_argument("svg", type=Path)
    parser.add_argument("commands", nargs="+", help="command lines, in order")
    args = parser.parse_args(arguments)
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    for number, command in enumerate(args.commands):
        code, output = shown(shlex.split(command))
        if code:
            sys.stderr.write(output)
            return code
        if number:
            console.print()
        console.print(Text("$ ", "green") + Text(command, "bold"))
        console.print(Text.from_ansi(last_states(output).rstrip()))
    drawn = console.export_svg(title="rayon", theme=DIMMED_MONOKAI, code_format=FORM)
    args.svg.write_text(drawn, "utf-8")
    return 0


def shown(command: list[str]) -> tuple[int, str]:
    """Return the exit code of a command, and what it prints in a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        output = b""
        try:
            while piece := os.read(ours, 4096):
                output += piece
        except OSError as error:
            # The end of a terminal whose last process has ended, on Linux.
            if error.errno != errno.EIO:
                raise
    os.close(ours)
    return process.returncode, output.decode(errors="replace")


def last_states(output: str) -> str:
    """Return an output without lines that were drawn again, such as progress bars."""
    lines: list[str] = []
    for line in output.replace("\r\n", "\n").split("\n"):
        # Moving up by a line (`ESC [ 1 A`) draws over it.
        if (drawn := line.split("\x1b[1A"))[1:]:
            del lines[len(lines) - len(drawn) + 1 :]
        lines.append(drawn[-1].rpartition("\x1b[2K")[2].rpartition("\r")[2])
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
