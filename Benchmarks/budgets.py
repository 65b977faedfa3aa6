"""What a scenario may cost: Benchmarks/budgets/SCENARIO.json, the one place of these figures.

A budget has the key of what is measured, its text in the table, and `most` or `least`. Where it is missed it counts as
kept if the measure under `or` keeps its own limit."""
import json
import os

DIRECTORY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "budgets")


def read(scenario):
    """The budgets of a scenario, in the order of its file."""
    with open(os.path.join(DIRECTORY, f"{scenario}.json"), encoding="utf-8") as file:
        return json.load(file)["budgets"]


def limits(scenario):
    """The limit of each key, for scenarios that judge by themselves."""
    return {budget["key"]: _limit(budget) for budget in read(scenario)}


def judge(scenario, measured):
    """The lines of a table in Markdown, and how many budgets are missed.

    `measured` has the value of each key."""
    lines, missed = ["| goal | limit | measured | |", "| --- | --- | --- | --- |"], 0
    for budget in read(scenario):
        alternative = budget.get("or")
        value, limit = f"{measured[budget['key']]:.2f}", f"{'<=' if 'most' in budget else '>='} {_limit(budget):g}"
        is_kept = _keeps(budget, measured)
        if alternative:
            value, limit = f"{value} ({measured[alternative['key']]:.3f})", f"{limit} or {_limit(alternative):g}"
            is_kept = is_kept or _keeps(alternative, measured)
        missed += not is_kept
        lines.append(f"| {budget['text']} | {limit} | {value} | {'reached' if is_kept else 'missed'} |")
    return lines, missed


def _limit(budget):
    return budget["most"] if "most" in budget else budget["least"]


def _keeps(budget, measured):
    value = measured[budget["key"]]
    return value <= budget["most"] if "most" in budget else value >= budget["least"]
