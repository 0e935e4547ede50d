"""Records of claims to pages: Markdown in both languages, a gallery, one HTML file. Pure functions of the records."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from applebook.words import VERDICTS, WORDS, figure_file, measured, phrase, predicted, sizes, verdict_of
from optbench import to_json, write_bytes
from optbench.report import number

Record = Mapping[str, Any]
IMAGES = "images/book"
PAGES = {"book.md": "en", "book.zh-CN.md": "zh"}
DATA = "book.json"


def write_docs(records: Sequence[Record], folder: Path, docs: Path) -> list[Path]:
    """Writes the pages, their figures and the data that they are made from. Raises OutputError.

    Args:
        records: of the claims, see reproduce.
        folder: the book folder, where the figures lie.
        docs: where pages go.
    """
    texts = {DATA: to_json(records) + "\n", **rendered(json.loads(to_json(records)))}
    for record in records:
        for name, language in _figures(record):
            image = (folder / record["id"] / figure_file(name, language)).read_bytes()
            write_bytes(docs / _image(record, name, language), image)
    for name, text in texts.items():
        write_bytes(docs / name, text.encode())
    return [docs / name for name in texts]


def rendered(records: Sequence[Record]) -> dict[str, str]:
    """Every page by file name."""
    pages = {name: page(records, language) for name, language in PAGES.items()}
    return pages | {"gallery.md": gallery(records)}


def page(records: Sequence[Record], language: str, option: str = "--docs docs") -> str:
    """The page of the book in a language: a table of verdicts, then claim by claim.

    Args:
        records: of the claims.
        language: en or zh.
        option: of `reproduce`, with which the page is made; --docs has pages beside it, to which this one links.
    """
    words = WORDS[language]
    parts = [f"# {words['title']}"] + [words["other"]] * option.startswith("--docs")
    parts += [words["intro"].format(option=option), words["rule"], _made(records, words)]
    parts += [words["quick"]] if any(r["quick"] for r in records) else []
    rows = [
        [str(r["number"]), f"[{r['title'][language]}](#{r['id']})", r["section"][language], verdict_of(r, language)]
        for r in records
    ]
    parts.append(_table(["", words["claim"], words["section"], words["verdict"]], rows))
    parts += [_claim(record, language) for record in records]
    return "\n\n".join(parts) + "\n"


def _made(records: Sequence[Record], words: Mapping[str, str]) -> str:
    """Where the numbers come from: a sentence for each machine and version that claims were reproduced with."""
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        where = record["provenance"]
        versions = where["versions"]
        key = (where["cores"], where["processor"], versions["optbench"], versions["torch"])
        groups.setdefault(key, []).append(record)
    sentences = []
    for (cores, processor, version, torch), here in groups.items():
        runs, minutes = sum(n for r in here for n in r["runs"].values()), sum(r["seconds"] for r in here) / 60
        made = words["made"].format(
            runs=runs, minutes=number(round(minutes, 1)), cores=cores, processor=processor, version=version, torch=torch
        )
        which = words["of"].format(words["comma"].join(str(r["number"]) for r in here)) if len(groups) > 1 else ""
        sentences.append(which + made)
    return "\n\n".join(sentences)


def _claim(record: Record, language: str) -> str:
    words = WORDS[language]
    verdict, colon = verdict_of(record, language), words["colon"]
    parts = [f'<a id="{record["id"]}"></a>\n\n## {record["number"]}. {record["title"][language]}{colon}{verdict}']
    parts.append(
        f"> {words['says']}{words['section_in'].format(record['section'][language])}{colon}{record['says'][language]}"
    )
    parts.append(f"**{words['setup']}**{colon}{record['setup'][language]}")
    rows = [[p["quantity"][language], predicted(p, language), measured(p), sizes(p), VERDICTS[language][p["verdict"]]]
            for p in record["predictions"]]  # fmt: skip
    parts.append(_table([words[k] for k in ("prediction", "predicted", "measured", "n", "verdict")], rows))
    for name, caption in record["figures"].items():
        parts.append(f"![{caption[language]}]({_image(record, name, language)})\n\n*{caption[language]}*")
    for name, rows_of in record["tables"].items():
        header = list(rows_of[0]) if rows_of else []
        cells = [[_cell(row.get(key), language) for key in header] for row in rows_of]
        headings = [phrase(key, language) for key in header]
        parts.append(f"{record['captions'][name][language]}\n\n{_table(headings, cells)}")
    if record["note"][language]:
        parts.append(f"**{words['note']}**{colon}{record['note'][language]}")
    if record["commands"]:
        parts.append(f"{words['commands']}{colon.strip()}\n\n```\n" + "\n".join(record["commands"].values()) + "\n```")
    return "\n\n".join(parts)


def gallery(records: Sequence[Record]) -> str:
    """Every figure with its caption in both languages."""
    words = WORDS["en"]
    parts = [f"# {words['gallery']} · {WORDS['zh']['gallery']}", words["gallery_intro"]]
    for record in records:
        for name, caption in record["figures"].items():
            link = f"[{record['number']}. {record['title']['en']} · {record['title']['zh']}](book.md#{record['id']})"
            parts.append(
                f"![{caption['en']}]({_image(record, name, 'en')})\n\n{link}\\\n{caption['en']}\\\n{caption['zh']}"
            )
    return "\n\n".join(parts) + "\n"


def _drawn(record: Record) -> Sequence[str]:
    """The languages in which a claim's figures were drawn: not in Chinese where no font had it."""
    drawn: Sequence[str] = record.get("drawn", ["en"])
    return drawn


def _figures(record: Record) -> list[tuple[str, str]]:
    """The figures of a claim, name and language."""
    return [(name, language) for name in record["figures"] for language in _drawn(record)]


def _image(record: Record, name: str, language: str) -> str:
    return f"{IMAGES}/{record['id']}-{figure_file(name, language if language in _drawn(record) else 'en')}"


def _cell(value: Any, language: str) -> str:
    if value is None:
        return "-"
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return number(value) if numeric else phrase(str(value), language)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


_STYLE = """
body{max-width:60rem;margin:2rem auto;padding:0 1rem;font:16px/1.6 system-ui,"Noto Sans CJK SC",sans-serif;color:#222}
.wide{overflow-x:auto;margin:1rem 0}
table{border-collapse:collapse;font-size:.92em}
td,th{border:1px solid #ccc;padding:.3rem .6rem;text-align:left;min-width:3.4em}
td:first-child{min-width:8em} td:first-child:has(+td>a),th:empty{min-width:0}
img{max-width:100%;height:auto} h2{margin-top:3rem} h1,h2{line-height:1.25} p,code{overflow-wrap:anywhere}
em:lang(zh){font-style:normal;color:#666}
pre{background:#f5f5f5;padding:.8rem;overflow-x:auto}
blockquote{border-left:4px solid #ccc;margin:1rem 0;padding:.1rem 1rem;color:#444}"""


def html(records: Sequence[Record], folder: Path, language: str) -> str:
    """The page as one HTML file that needs no other: figures are inside it.

    Args:
        records: of the claims.
        folder: the book folder, where the figures lie.
        language: en or zh.
    """
    from markdown_it import MarkdownIt

    body: str = MarkdownIt("commonmark").enable("table").render(page(records, language, "--html"))
    body = body.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
    for record in records:
        for name, drawn in _figures(record):
            data = base64.b64encode((folder / record["id"] / figure_file(name, drawn)).read_bytes()).decode()
            body = body.replace(f'src="{_image(record, name, drawn)}"', f'src="data:image/png;base64,{data}"')
    title = re.sub(r"[<>&]", "", WORDS[language]["title"])
    tongue = {"en": "en", "zh": "zh-CN"}[language]
    return (f'<!doctype html>\n<html lang="{tongue}"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{title}</title><style>{_STYLE}</style></head>\n<body>{body}</body></html>\n")  # fmt: skip
