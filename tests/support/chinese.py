"""How Chinese is written here: full-width punctuation, a space between Chinese and Latin letters or digits, the house's words."""

from __future__ import annotations

import gettext
import re
from pathlib import Path

from django.conf import settings

MESSAGES = Path(settings.BASE_DIR) / "locale" / "zh_Hans" / "LC_MESSAGES"
_HAN = "\u4e00-\u9fff"
_HOLE = r"%\(\w+\)[sdr]|%[sd]|\{\w+\}"
HAN = re.compile(f"[{_HAN}]")
# A word, and what is said instead.
BANNED = {
    "您": "你",
    r"(?<!队列)任务": "操作, 队列任务 or 目标实例",
    "工作进程": "执行进程",
    "软件包": "发布包",
    "操作者|操作人": "发起者",
    "(?<!发布)包地址": "发布包地址",
    "人员": "用户",
    "按实例(?!、)": "实例明细",
    "将会发生": "将执行的变更",
    "个中(完成|的)": "已完成 0/3",
    "发布目录": "部署根目录, or 版本目录 of one release",
    "回退": "回滚, or 恢复 of what reverts by itself",
}
_RULES = {
    "half-width punctuation": f"[{_HAN}][,;:!?()]|[,;:!?(][{_HAN}]|\\)[{_HAN}]|[{_HAN}]\\.(?=\\s|$)|[{_HAN}][\"']|[\"'][{_HAN}]",
    "no space before or after Latin": f"[{_HAN}][A-Za-z0-9]|[A-Za-z0-9][{_HAN}]",
    "a space beside full-width punctuation": "(?<=\\S) [，。：；！？、（）“”]|[，。：；！？、（）“”] (?=\\S)",
    **{f"say {instead}": word for word, instead in BANNED.items()},
}
_NO_SPACE_AT_A_HOLE = re.compile(f"[{_HAN}]({_HOLE})|({_HOLE})[{_HAN}]")


def faults(text: str) -> list[str]:
    """What is wrong with a Chinese text, each with the place; its holes and tags are not looked into."""
    text = re.sub(f"{_HOLE}|<[^>]*>", "◦", text)
    found = ((rule, re.search(pattern, text)) for rule, pattern in _RULES.items())
    return [f"{rule}: {match[0]!r} in {text!r}" for rule, match in found if match]


def hole_faults(text: str) -> list[str]:
    """Of a text whose holes are filled with names, versions and numbers, none with Chinese."""
    match = _NO_SPACE_AT_A_HOLE.search(text)
    return [f"no space beside a name: {match[0]!r} in {text!r}"] if match else []


def catalogue(name: str) -> dict[str, str]:
    """A compiled catalogue's texts by their msgid, without contexts; each plural form by itself."""
    with (MESSAGES / name).open("rb") as file:
        entries: dict[object, str] = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
    keys = {key[0] if isinstance(key, tuple) else key: text for key, text in entries.items()}
    return {str(key).split("\x04")[-1]: text for key, text in keys.items() if key}
