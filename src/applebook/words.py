"""The few words that pages and the terminal put around a claim's own texts, in both languages; and its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from optbench.language import phrases
from optbench.report import number

VERDICTS = {
    "en": {v: v for v in ("supported", "not supported", "undecided", "withheld", "depends")},
    "zh": {"supported": "成立", "not supported": "不成立", "undecided": "未能判定", "withheld": "暂不判定",
           "depends": "视条件而定"},
}  # fmt: skip
WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "title": "Chapter 3 of the Apple Book, reproduced",
        "intro": "Every claim below was run as an experiment that can come out either way. The predictions were "
        "written down before the runs (`conf/experiment/book/`); numbers and verdicts are computed from the records. "
        "This page is written by `optbench reproduce {option}`, never by hand.",
        "rule": "A prediction is *supported* when its whole 95 % interval lies on the predicted side of the threshold, "
        "*not supported* when all of it lies on the other side, *undecided* otherwise, and always where a side is a "
        "single value. A claim *depends* when its predictions do not all come out alike.",
        "made": "{runs} runs in {minutes} minutes on {cores} cores of {processor}; optbench {version}, torch {torch}.",
        "quick": "These are the results of `--quick`: fewer seeds and steps. A prediction that rests on a longer "
        "training or a larger network is *withheld*.",
        "by_quick": "{}, by --quick",
        "claim": "claim", "section": "section", "verdict": "verdict", "says": "The book", "setup": "What is run",
        "commands": "By hand", "prediction": "prediction", "predicted": "predicted", "measured": "measured [95 %]",
        "n": "n", "note": "On the wording", "above": "above", "below": "below", "gallery": "Gallery",
        "gallery_intro": "The figures of the book's claims, drawn from recorded runs by `optbench reproduce`. What "
        "each one shows, with its numbers, stands on [the page of the book](book.md).",
        "other": "[中文](book.zh-CN.md) · [Gallery](gallery.md)",
        "colon": ": ", "judged": "; predicted {}: {}", "held": " ({n} predictions: {counts})",
        "of": "Claims {}: ", "count": "{} {}", "comma": ", ", "page": "page {}",
        "end": "{done} of {wanted} claims{counts}; records and figures in {folder}",
        "section_in": " ({})",
    },
    "zh": {
        "title": "《苹果书》第 3 章复现",
        "intro": "下面每条说法都当作一个可能成立、也可能不成立的实验来做。预测在运行之前就写在 "
        "`conf/experiment/book/` 里；数字和结论都由运行记录算出。"
        "本页由 `optbench reproduce {option}` 生成，不做手工修改。",
        "rule": "95% 置信区间完全落在预测的一侧，预测记为*成立*；完全落在另一侧，记为*不成立*；"
        "跨过阈值，或某一侧只有一个数值，记为*未能判定*。同一条说法的各个预测结果不一致时，记为*视条件而定*。",
        "made": "共 {runs} 次运行，用时 {minutes} 分钟，{processor} 的 {cores} 个核；"
        "optbench {version}，torch {torch}。",
        "quick": "这是 `--quick` 的结果：种子和步数都较少。要靠更长的训练或更大的网络才能判定的预测，记为*暂不判定*。",
        "by_quick": "{}（--quick）",
        "claim": "说法", "section": "章节", "verdict": "结论", "says": "书中的说法", "setup": "实验设置",
        "commands": "自己动手", "prediction": "预测", "predicted": "预测范围", "measured": "实测值 [95% 区间]",
        "n": "n", "note": "关于书中的表述", "above": "大于", "below": "小于", "gallery": "图集",
        "gallery_intro": "", "other": "[English](book.md) · [图集](gallery.md)",
        "colon": "：", "judged": "；预测{}：{}", "held": "（{n} 条预测：{counts}）",
        "of": "第 {} 条：", "count": "{} 条{}", "comma": "，", "page": "页面 {}",
        "end": "{wanted} 条说法已完成 {done} 条{counts}；记录和图片在 {folder}",
        "section_in": "（{}）",
    },
}  # fmt: skip


def counted(verdicts: Iterable[str], language: str) -> str:
    """How many verdicts came out how, as `2 supported, 1 undecided`."""
    names, words, found = VERDICTS[language], WORDS[language], Counter(verdicts)
    return words["comma"].join(words["count"].format(found[v], names[v]) for v in names if found[v])


def verdict_of(record: Mapping[str, Any], language: str) -> str:
    """A claim's verdict, by what runs if they were quick ones, and where it depends, how many of its predictions came
    out how."""
    words = WORDS[language]
    verdict = VERDICTS[language][record["verdict"]]
    verdict = words["by_quick"].format(verdict) if record.get("quick") else verdict
    if record["verdict"] != "depends":
        return verdict
    found = [p["verdict"] for p in record["predictions"]]
    return verdict + words["held"].format(n=len(found), counts=counted(found, language))


PHRASES = Path(__file__).with_name("phrases.zh.yaml")
"""What tables and figures of the claims say, in Chinese."""


def phrase(text: str, language: str) -> str:
    """What a table says, in the language; as it is where phrases.zh.yaml does not have it."""
    return text if language == "en" else phrases(PHRASES)(text)


def figure_file(name: str, language: str) -> str:
    """The file of a claim's figure in a language."""
    return f"{name}.png" if language == "en" else f"{name}.{language}.png"


_TWO_SAMPLES = ("mean difference", "ratio", "share difference")


def measured(found: Mapping[str, Any]) -> str:
    """A prediction's statistic with its interval, as `0.23 [0.14, 0.33]`; without width, the value alone."""
    value, low, high = (found[key] for key in ("value", "low", "high"))
    return number(value) if low == high else f"{number(value)} [{number(low)}, {number(high)}]"


def predicted(found: Mapping[str, Any], language: str) -> str:
    """`above 0.1`, in the language."""
    return f"{WORDS[language][found['direction']]} {number(found['threshold'])}"


def sizes(found: Mapping[str, Any]) -> str:
    """Numbers of values: `80 + 80` of two samples, `80` of pairs or of one sample."""
    left, right = found["n"]
    return f"{left} + {right}" if found["kind"] in _TWO_SAMPLES else str(left)
