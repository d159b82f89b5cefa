"""Values of environment variables, read by environs: what is wrong with any of them is told by `seal`, all at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from environs import Env
from marshmallow.validate import Range


class NamedEnv(Env):
    """White space around a value is no part of it."""

    def _get_value(self, env_key: str, default: Any) -> Any:
        return os.environ.get(env_key, "").strip() or default


def parsed(env: Env, name: str, parse: Callable[[str], Any]) -> Any:
    """None when it is not set, or is wrong, which `seal` tells then."""
    if env.str(name, None) is None:
        return None
    parser = f"{name.lower()}_value"
    env.add_parser(parser, parse)
    return getattr(env, parser)(name)


def boolean(env: Env, name: str) -> bool:
    # environs' types leave out what it hands on to the field.
    value = env.bool(name, False, error_messages={"invalid": "must be true or false"})  # type: ignore[call-overload]
    return bool(value)


def number(env: Env, name: str, default: int, *, least: int, most: int | None = None) -> int:
    message = f"must be an integer, {least} {'or more' if most is None else f'to {most}'}"
    is_in_range = Range(min=least, max=most, error=message)
    value: int = env.int(name, default, validate=is_in_range, error_messages={"invalid": message})  # type: ignore[call-overload]
    return value


def items(env: Env, name: str, parse: Callable[[str], str]) -> list[str]:
    """Empty ones are left out. By `validate`, since the message of what a `subcast` raises does not reach `seal`."""

    def check(items: list[str]) -> None:
        for item in filter(None, items):
            parse(item)

    items: list[str] = env.list(name, [], subcast=str.strip, validate=check) or []
    return [parse(item) for item in items if item]
