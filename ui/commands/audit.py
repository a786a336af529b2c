"""`coin audit`: who queried an archive for what, whether the log is intact, and the removal of old events."""

from __future__ import annotations

import datetime
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import click

from ui.commands.options import as_json, with_settings
from ui.commands.output import echo, echo_json
from ui.service import Service, account
from ui.settings import Settings
from ui.text.layout import clean

if TYPE_CHECKING:
    from retrieval import AuditState, Event

SHOWN: Final = 20


class _EventHash(click.ParamType):
    """ "128:3f0a…": number and hash of an event."""

    name = "NUMBER:HASH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number, _, digest = str(value).partition(":")
        if not number.isdecimal() or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            self.fail(
                f"'{value}' is not an event's number, a colon and its 64 digits, as `coin audit` prints", param, ctx
            )
        return int(number), digest


@click.command()
@click.option(
    "--last", type=click.IntRange(0), default=SHOWN, show_default=True, help="How many of the newest events to show."
)
@click.option("--expect", type=_EventHash(), help="Also check that this event, noted earlier, is unchanged.")
@click.option("--prune", is_flag=True, help="Remove the events older than --audit-days.")
@as_json
@with_settings("archive", "audit", "audit_days")
@click.pass_context
def audit(
    context: click.Context, settings: Settings, last: int, expect: tuple[int, str] | None, prune: bool, as_json: bool
) -> None:
    """Show the newest events of the audit log, and check that none was changed or removed.

    Note the newest event's number and hash elsewhere, and give them to --expect later: only this detects a log that
    was rewritten, or truncated at its end. The exit code is 1 where the log is not intact.
    """
    log = Service(settings).audit_log
    if log is None:
        raise click.UsageError("there is no audit log: name its folder with --audit or COIN_AUDIT")
    if prune and not settings.audit_days:
        raise click.UsageError("--prune needs --audit-days (or COIN_AUDIT_DAYS): how many days are kept")
    removed = 0
    state = log.verify(expected=expect)
    if prune and not state.problem:  # a damaged log is evidence
        before = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=settings.audit_days)
        removed = log.prune(before, user=account())
        state = log.verify(expected=expect)
    events = list(deque(log.events(), maxlen=last)) if last else []
    if as_json:
        echo_json({"file": log.path, "state": state, "removed": removed, "shown": events})
    else:
        lines = [*(_event_text(event) for event in events), *([f"removed {removed} events"] if prune else [])]
        echo("\n".join([*lines, *_state_text(state)]))
    if state.problem:
        context.exit(1)


def _event_text(event: Event) -> str:
    shown = {key: event[key] for key in ("query", "kind", "cases", "refused", "removed", "bytes") if key in event}
    shown["query"] = str(shown["query"])[:12] if "query" in shown else None
    words = [f"{key} {value}" for key, value in shown.items() if value is not None]
    who = f"{event.get('user', '')} ({event['place']})" if "place" in event else event.get("user", "")
    return clean(f"{event['seq']}  {event['time']}  {who}  {event['event']}: {', '.join(words)}")


def _state_text(state: AuditState) -> list[str]:
    intact = " that can be followed" if state.problem else ""
    lines = [f"{state.events} events{intact}, {state.first} to {state.last}"]
    if state.pruned:
        lines[0] += f"; {state.pruned} older ones were removed"
    lines += [f"note: {note}" for note in state.notes]
    if state.problem:
        return [*lines, f"NOT WHOLE: {state.problem}"]
    return [*lines, f"The chain is whole. Newest event, to be noted elsewhere: {state.last}:{state.head}"]
