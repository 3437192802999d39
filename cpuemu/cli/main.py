"""``cpuemu``: the verbs.  Each verb's code is imported when it is used: the help must be fast."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from cpuemu import __version__

VERBS = {"launch": "cpuemu.cli.launch:launch"}
SHORT = {"launch": "Run a machine: CPUs as processes, a recording or another workload, hotplug, a verdict."}


class Verbs(click.Group):
    """A group that imports a verb when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module, _, name = VERBS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, SHORT[name]) for name in VERBS])


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="cpuemu")
def cli() -> None:
    """A multiprocessor that you can break on purpose.

    Every emulated CPU is a process.  The memory they share holds Linux's page allocator; their interrupts travel as
    ZeroMQ messages; a coordinator plugs CPUs out and in through a stop_machine barrier.  The races are real.

    \b
    Examples:
      cpuemu launch --cpus 8                     replay a real kernel's recording, with its CPU hotplug
      cpuemu launch --workload storm --hotplug random --preempt full --seed 7
      trace-dump RUN_DIR --tail 50               what the machine did last
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point; exit code 2 with one sentence for what the person did wrong."""
    from cpuemu.errors import UserError

    try:
        status = cli.main(args=list(arguments) if arguments is not None else None, standalone_mode=False)
    except click.exceptions.Exit as done:
        status = done.exit_code
    except click.Abort:
        status = 130
    except click.ClickException as error:
        click.echo(f"cpuemu: {error.format_message()}", err=True)
        status = 2
    except UserError as error:
        click.echo(f"cpuemu: {error}", err=True)
        status = 2
    sys.exit(status if isinstance(status, int) else 0)
