"""Checking what the user gives against a schema, and saying what is wrong with it.

Idea: schemas say what is allowed (see `workflow/schemas/`), and what does not fit is refused in one
sentence that says what came, what is allowed and what to do.
"""

import difflib
import json
import math
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

SCHEMAS = Path(__file__).parent / "schemas"
TYPES = {
    "object": "a section of keys",
    "array": "a list",
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "null": "null",
}


def _is_finite_number(_checker: object, value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


# YAML knows .nan and .inf; no key here has a use for them.
Validator = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("number", _is_finite_number),
)


class SettingsError(ValueError):
    """Something in the configuration or the sample sheet is not allowed."""


def schema(name: str) -> dict:
    """A schema of `workflow/schemas/` by its name: "config" or "samples"."""
    return yaml.safe_load((SCHEMAS / f"{name}.schema.yaml").read_text(encoding="utf-8"))


def complete(given: dict, rules: dict, where: str = "") -> dict:
    """Check a mapping against a schema and fill in what it leaves out.

    Raises
    ------
    SettingsError
        With the first thing that is not allowed.
    """
    errors = Validator(rules).iter_errors(given)
    # A misspelt key is the likely cause of whatever else is wrong, so it is said first.
    first = min(errors, key=lambda error: error.validator != "additionalProperties", default=None)
    if first is not None:
        raise SettingsError(where + _sentence(first, rules))
    return _with_defaults(given, rules)


def _with_defaults(given: dict, rules: dict) -> dict:
    filled = dict(given)
    for key, rule in rules["properties"].items():
        if "default" in rule:
            filled.setdefault(key, rule["default"])
        if "properties" in rule and isinstance(filled[key], dict):
            filled[key] = _with_defaults(filled[key], rule)
    return filled


def _sentence(error: ValidationError, rules: dict) -> str:
    """What came, what is allowed and what to do, from an error of the schema."""
    key = ".".join(str(part) for part in error.path if not isinstance(part, int))
    if error.validator == "additionalProperties":
        known = error.schema["properties"]
        unknown = sorted(str(name) for name in set(error.instance) - set(known))[0]
        near = difflib.get_close_matches(unknown, known, 1)
        hint = f"write {near[0]!r} if that is meant" if near else "remove it"
        section = f"{key}." if key else ""
        return f"{section}{unknown} is not known; allowed are {', '.join(known)}: {hint}"
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        if not key:
            return f"{missing[0]} is missing; it is needed in every row: add it"
        rule = error.schema["properties"][missing[0]]
        return (
            f"{key}.{missing[0]} is missing; allowed is {_allowed(rule)} "
            f"({rule['description']}): add it"
        )
    rule = rules
    for part in error.path:
        # A list or a choice is described as a whole.
        if "properties" in rule and "maxProperties" not in rule:
            rule = rule["properties"][part]
    came = json.dumps(error.instance, default=str)
    hint = "correct it"
    if rule.get("type") == "object" and isinstance(error.instance, str):
        hint = "put the section into a file and name that with --configfile"
    return f"{key} is {came}; allowed is {_allowed(rule)} ({rule['description']}): {hint}"


def _allowed(rule: dict) -> str:
    """What a rule of a schema allows, in words."""
    if "enum" in rule:
        return " or ".join(map(str, rule["enum"]))
    if "maxProperties" in rule:
        return rule["$comment"]
    if rule.get("type") == "array":
        least, most = rule.get("minItems", "different"), rule.get("maxItems")
        count = least if most in (None, least) else f"{least} to {most}"
        return f"a list of {count} values, each {_allowed(rule['items'])}"
    types = rule["type"] if isinstance(rule["type"], list) else [rule["type"]]
    words = " or ".join(TYPES[name] for name in types)
    if "exclusiveMinimum" in rule:
        words += f" above {rule['exclusiveMinimum']}"
    if "minimum" in rule:
        words += f" of at least {rule['minimum']}"
    if "maximum" in rule:
        words += f" and at most {rule['maximum']}"
    if "multipleOf" in rule:
        words += f", a multiple of {rule['multipleOf']}"
    if "pattern" in rule:
        words += f" {rule['$comment']}"
    return words
