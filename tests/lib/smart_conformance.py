#!/usr/bin/env python3
"""Writes docs/smart-conformance.md from tests/conformance/rows.toml and the comments above the tests; `--check` only compares.

Takes the tree it lies in. A comment is `// C7, B2 36: words` in Rust and JavaScript, `# C7` in Python, above a test or inside
it; the notation is described in rows.toml. Ends with 1 when the document is stale, when a comment names a row that there is
not, or when a claimed row has no test. A row that stands in [open] may have tests that show a part of it.
"""
import dataclasses
import pathlib
import re
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROWS = ROOT / "tests/conformance/rows.toml"
DOCUMENT = ROOT / "docs/smart-conformance.md"

COMMENT = re.compile(r"^\s*(?:///?|#)\s+(?P<text>[A-Z]\d.*)$")
ROW = re.compile(r"(?P<table>B[123]) (?P<number>\d+)(?:-(?P<last>\d+))?|(?P<letter>[A-Z])(?P<from>\d+)(?:-(?:[A-Z])?(?P<to>\d+))?")
NUMBER = re.compile(r"(\d+)(?:-(\d+))?")
FUNCTION = re.compile(r"^\s*(?:pub(?:\([^)]*\))? )?(?:async )?(?:fn|def|function) (\w+)")
NAMED = re.compile(r"""^\s*(?:(?:const|let) \w+ = )?await tests\.run\(\s*["'`]([^"'`]+)["'`]""")
SAID = re.compile(r"^(?:(?P<table>b[123])_(?P<first>\d+)(?:_(?P<way>to|and)_(?P<last>\d+))?|rows?_(?P<row>\d+)(?:_(?P<how>to)_(?P<end>\d+))?(?:_and_(?P<other>\d+))?|(?P<one>[a-z]\d+)(?:_and_(?P<two>[a-z]\d+))?)_")
TEST = re.compile(r"^\s*#\[(?:tokio::)?test\]")
PASSED_OVER = re.compile(r"^\s*(?://|#|@|$)")


@dataclasses.dataclass(frozen=True)
class Test:
    """Where a test is and what it is called."""

    path: str
    name: str

    def __str__(self) -> str:
        return f"[{self.name.replace('_', ' ')}](../{self.path})"


def main() -> int:
    rows = tomllib.loads(ROWS.read_text())
    problems: list[str] = []
    shown = collect(rows["rows"], problems)
    unknown_open = [row for row in rows["open"] if row not in rows["rows"]]
    problems += [f"[open] has `{row}`, which is no row" for row in unknown_open]
    documented = rows["documented"]
    problems += [f"[documented] names `{where}`, which is not there" for where in documented.values() if not (ROOT / "docs" / where.split("#")[0]).exists()]
    for row in rows["rows"]:
        if row not in shown and row not in rows["open"] and row not in documented:
            problems.append(f"`{row}` is claimed and no test names it; name it above a test, or say in [open] what is missing")
    text = document(rows, shown)
    if "--check" in sys.argv[1:]:
        if not DOCUMENT.exists() or DOCUMENT.read_text() != text:
            problems.append(f"{DOCUMENT.relative_to(ROOT)} is stale: run tests/lib/smart_conformance.py")
    else:
        DOCUMENT.write_text(text)
    for problem in problems:
        print(f"smart_conformance: {problem}", file=sys.stderr)
    print(f"smart_conformance: {len(rows['rows'])} rows, {len(shown)} shown, {len(rows['open'])} open")
    return 1 if problems else 0


def collect(rows: dict, problems: list[str]) -> dict[str, list[Test]]:
    """The tests of each row, in the order of the files."""
    shown: dict[str, list[Test]] = {}
    patterns = ["src/**/*.rs", "tests/all/**/*.rs", "tests/clients/*.py", "tests/clients/*.mjs", "tests/browser/*.mjs", "tests/conformance/*.py"]
    for path in sorted(path for pattern in patterns for path in ROOT.glob(pattern)):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            found = COMMENT.match(line)
            ids = named(found["text"]) if found else said(lines, number) if TEST.match(line) else []
            if not ids:
                continue
            where = path.relative_to(ROOT).as_posix()
            name = test_at(lines, number)
            if name is None:
                problems.append(f"{where}:{number + 1}: `{line.strip()}` is above no test")
                continue
            for row in ids:
                if row.startswith("E"):
                    continue
                if row not in rows:
                    problems.append(f"{where}:{number + 1}: there is no row `{row}`")
                    continue
                tests = shown.setdefault(row, [])
                if Test(where, name) not in tests:
                    tests.append(Test(where, name))
    return shown


def named(text: str) -> list[str]:
    """The rows that a comment names; nothing when it does not begin with one."""
    ids: list[str] = []
    table = None
    for part in text.split(":")[0].split(","):
        part = part.strip()
        if row := ROW.fullmatch(part):
            table = row["table"]
            if table:
                ids += [f"{table} {n}" for n in range(int(row["number"]), int(row["last"] or row["number"]) + 1)]
            else:
                ids += [f"{row['letter']}{n}" for n in range(int(row["from"]), int(row["to"] or row["from"]) + 1)]
        elif table and (row := NUMBER.fullmatch(part)):
            ids += [f"{table} {n}" for n in range(int(row[1]), int(row[2] or row[1]) + 1)]
        else:
            break
    return ids


def said(lines: list[str], number: int) -> list[str]:
    """The rows that the name of the test below this line begins with."""
    found = SAID.match(test_at(lines, number) or "")
    if not found:
        return []
    if found["table"]:
        first, last = int(found["first"]), int(found["last"] or found["first"])
        numbers = range(first, last + 1) if found["way"] == "to" else {first, last}
        return [f"{found['table'].upper()} {n}" for n in sorted(numbers)]
    if found["row"]:
        numbers = [*range(int(found["row"]), int(found["end"] or found["row"]) + 1), *([int(found["other"])] if found["other"] else [])]
        return [f"B3 {n}" for n in numbers]
    return [one.upper() for one in (found["one"], found["two"]) if one]


def test_at(lines: list[str], number: int) -> str | None:
    """The name of the test that begins below this line, or of the one that the line is in."""
    for line in lines[number + 1 :]:
        if name := FUNCTION.match(line) or NAMED.match(line):
            return name[1]
        if not PASSED_OVER.match(line):
            break
    for line in reversed(lines[:number]):
        if name := FUNCTION.match(line) or NAMED.match(line):
            return name[1]
    return None


def document(rows: dict, shown: dict[str, list[Test]]) -> str:
    claimed = len(rows["rows"]) - len(rows["open"])
    text = [
        "# SMART conformance",
        "",
        "<!-- Generated by tests/lib/smart_conformance.py from tests/conformance/rows.toml and the comments above the tests. -->",
        "",
        "What SMART App Launch 2.2 and the RFCs below it ask for, in our words, and the tests that show it here. Every test named is run by",
        f"`tests/run`. Of {len(rows['rows'])} rows {claimed} are shown; the others say what is missing.",
        "",
    ]
    for section, title in rows["sections"].items():
        members = [row for row in rows["rows"] if section_of(row) == section]
        if not members:
            continue
        text += [f"## {title}", "", "| | requirement | shown by |", "|---|---|---|"]
        for row in members:
            tests = "<br>".join(map(str, shown.get(row, [])))
            if where := rows["documented"].get(row):
                tests = f"documented: [{where.split('#')[0]}]({where})"
            state = "<br>".join(filter(None, [f"**open**: {rows['open'][row]}" if row in rows["open"] else "", tests]))
            text.append(f"| {row} | {rows['rows'][row]} | {state} |")
        text.append("")
    return "\n".join(text).rstrip() + "\n"


def section_of(row: str) -> str:
    return row.split(" ")[0] if " " in row else row[0]


if __name__ == "__main__":
    sys.exit(main())
