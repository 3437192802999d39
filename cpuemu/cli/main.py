"""``cpuemu``: the verbs.  Each verb's code is imported when it is used: the help must be fast."""

from __future__ import annotations

import difflib
import importlib
import sys
import traceback
from collections.abc import Sequence

import click

from cpuemu import __version__
from cpuemu.errors import UserError

VERBS = {
    "launch": "cpuemu.cli.launch:launch",
    "compare": "cpuemu.cli.compare:compare",
    "explore": "cpuemu.cli.explore:explore",
    "replay": "cpuemu.cli.replay:replay",
    "play": "cpuemu.cli.play:play",
    "zoo": "cpuemu.cli.zoo:zoo",
    "report": "cpuemu.cli.report:report",
    "top": "cpuemu.cli.top:top",
}
SHORT = {
    "launch": "Run a machine: CPUs as processes, a recording or another workload, hotplug, a verdict.",
    "compare": "Run drain policies on the same seeds and compare them: drains, interrupts, latencies, OOM kills.",
    "explore": "Run a workload under chosen schedules, one CPU moving at a time, and keep what fails.",
    "replay": "Run the schedule of a failure again, step for step.",
    "play": "Choose by hand who moves, and try to make it fail.",
    "zoo": "Bugs that Linux had: list them, run them, see what broke them and what mended them.",
    "top": "Look at a machine that runs elsewhere: its CPUs, memory and waits, several times a second.",
    "report": "Write a run as one HTML file: verdict, timeline, memory, interrupts, latencies, waits.",
}
USAGE_STATUS, DEFECT_STATUS, INTERRUPTED_STATUS = 2, 70, 130


class Verbs(click.Group):
    """A group that imports a verb when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            near = difflib.get_close_matches(cmd_name, VERBS, 1)
            if near and not ctx.resilient_parsing:
                ctx.fail(f"No such command {cmd_name!r}. (Did you mean {near[0]!r}?)")
            return None
        module, _, name = VERBS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, SHORT[name]) for name in VERBS])


@click.group(cls=Verbs, invoke_without_command=True,
             context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="cpuemu")
@click.pass_context
def cli(context: click.Context) -> None:
    """A multiprocessor that you can break on purpose.

    Every emulated CPU is a process.  The memory they share holds Linux's page allocator; their interrupts travel as
    ZeroMQ messages; a coordinator plugs CPUs out and in through a stop_machine barrier.  The races are real.

    \b
    Examples:
      cpuemu launch --cpus 8                     replay a real kernel's recording, with its CPU hotplug
      cpuemu launch --workload storm --hotplug random --preempt full --seed 7
      cpuemu launch --help                       all options, and what the exit codes mean
      trace-dump RUN_DIR --tail 50               what the machine did last
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: one sentence and exit code 2 for what the person did wrong, 70 for what we did wrong."""
    sys.exit(_status(arguments))


def _status(arguments: Sequence[str] | None) -> int:
    try:
        status = cli.main(args=list(arguments) if arguments is not None else None, prog_name="cpuemu",
                          standalone_mode=False)
    except click.Abort:
        return INTERRUPTED_STATUS
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "cpuemu"
        click.echo(f"cpuemu: {error.format_message()} See: {where} --help", err=True)
        return USAGE_STATUS
    except (click.ClickException, UserError) as error:
        click.echo(f"cpuemu: {error.format_message() if isinstance(error, click.ClickException) else error}", err=True)
        return USAGE_STATUS
    except Exception:
        traceback.print_exc()
        click.echo("cpuemu: this is a defect of cpuemu, not of what you asked for", err=True)
        return DEFECT_STATUS
    return status if isinstance(status, int) else 0
