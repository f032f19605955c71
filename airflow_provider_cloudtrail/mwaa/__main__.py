"""``python -m airflow_provider_cloudtrail.mwaa plan|deploy|status|verify ENVIRONMENT``, and ``template``."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from airflow_provider_cloudtrail import settings
from airflow_provider_cloudtrail.mwaa import report
from airflow_provider_cloudtrail.mwaa.aws import Aws
from airflow_provider_cloudtrail.mwaa.bucket import Bucket
from airflow_provider_cloudtrail.mwaa.bundle import COPY, EXTRAS, MODES, Source, build
from airflow_provider_cloudtrail.mwaa.deploy import Deployment, await_own_update, current, own_update_is_running
from airflow_provider_cloudtrail.mwaa.environment import Environment
from airflow_provider_cloudtrail.mwaa.errors import MwaaError, MwaaStateError, MwaaUsageError
from airflow_provider_cloudtrail.mwaa.manifest import Manifest, load
from airflow_provider_cloudtrail.mwaa.permissions import FEATURES, check, features_of, queue_arn, resources_of
from airflow_provider_cloudtrail.mwaa.pinned import not_installed
from airflow_provider_cloudtrail.mwaa.plan import Choices, Plan, make_plan
from airflow_provider_cloudtrail.mwaa.update import Patience
from airflow_provider_cloudtrail.mwaa.verify import verify

DONE, CHANGES, NOT_WELL = 0, 3, 6
EXIT_CODES = """
exit codes:
  0  done, or nothing to do
  1  AWS refused, or could not be reached; deploy again to finish
  2  the command line cannot be meant
  3  plan: there are changes; status: not deployed, or not as deployed
  4  environment, bucket or foreign objects are not in a state to deploy to; nothing of theirs was changed
  5  the environment could not be updated; what was written is as it was before
  6  verify: DAGs, imports or the provider are not as they must be
  7  the update takes longer than --wait; it goes on, deploy again to wait for it and finish
"""
TEMPLATE = Path(__file__).with_name("cloudtrail_audit.yaml")


def main(arguments: list[str] | None = None) -> int:
    """
    Run a command.

    :param arguments: of the command line.
    :return: the exit code.
    """
    report.stand_any_output()
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.run
    try:
        code = command(options)
        # Here, where it can be told: a short output is only written at the end.
        sys.stdout.flush()
        return code
    except MwaaError as error:
        if getattr(options, "json", False):
            report.print_json({"error": str(error), "exit_code": error.exit_code})
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # Whoever read the output, such as `head`, has seen enough; Python would complain again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if command is _deploy:
            print("nobody reads the output any more; deploy again to see whether all is done", file=sys.stderr)
        return 141
    except KeyboardInterrupt:
        print("interrupted; deploy again to finish" if command is _deploy else "interrupted", file=sys.stderr)
        return 130


# -- commands ----------------------------------------------------------------------------------------


def _plan(options: argparse.Namespace) -> int:
    aws, environment, bucket, manifest = _look(options, to_write=True)
    if not own_update_is_running(environment, manifest):
        environment.require_ready()
    plan = _made(options, environment, bucket, manifest)
    # With what it shall be told, not only with what it is told already.
    told = {f"cloudtrail.{name}": value for name, value in plan.options.items()}
    wanted = replace(environment, options=environment.options | told)
    resources = resources_of(
        wanted, bucket=plan.options.get("bucket") or options.trail_bucket, trail=options.trail, queue=options.queue
    )
    checked, reason = check(aws, environment.execution_role, resources, options.feature or features_of(resources))
    if options.json:
        permissions = report.permission_document(checked, reason)
        report.print_json(report.plan_document(plan, manifest, environment) | {"permissions": permissions})
    else:
        report.print_lines(report.environment_lines(environment))
        report.print_lines(report.plan_lines(plan, manifest, environment))
        report.print_lines(report.permission_lines(checked, reason))
    if plan.conflicts:
        report.say(f"error: {plan.conflict_message()}")
        return MwaaStateError.exit_code
    return CHANGES if plan.has_changes else DONE


def _deploy(options: argparse.Namespace) -> int:
    aws, environment, bucket, manifest = _look(options, to_write=True)
    patience = Patience(report.say, options.poll, options.wait * 60)
    if own_update_is_running(environment, manifest):
        environment = await_own_update(aws, environment, patience)
    environment.require_ready()
    plan = _made(options, environment, bucket, manifest)
    plan.require_no_conflicts()
    if not options.json:
        report.print_lines(report.plan_lines(plan, manifest, environment))
    Deployment(aws, bucket, environment, manifest, plan, patience).run()
    if options.json:
        report.print_json(report.plan_document(plan, manifest, environment) | {"done": True})
    elif plan.has_changes:
        report.print_lines([f"Deployed. Ask Airflow: python -m {__package__} verify {environment.name}"])
    return DONE


def _status(options: argparse.Namespace) -> int:
    _, environment, bucket, manifest = _look(options)
    drifted = [key for key, entry in manifest.objects.items() if getattr(bucket.head(key), "etag", None) != entry.etag]
    drifted += [f"the part of this package in {name}" for name in not_installed(bucket, environment, manifest)]
    mode = manifest.environments.get(environment.name)
    if options.json:
        report.print_json({
            "environment": report.environment_document(environment),
            "mode": mode,
            "version": manifest.version or None,
            "objects": len(manifest.objects),
            "drifted": drifted,
            "interrupted": manifest.pending is not None,
        })
    else:
        report.print_lines(report.environment_lines(environment))
        said = f"{manifest.version} in mode {mode}, {len(manifest.objects)} objects" if mode else "nothing"
        report.print_lines([f"Deployed: {said}", *(f"  ! {key} was changed or deleted" for key in drifted)])
        if manifest.pending is not None:
            report.print_lines(["! a deployment was interrupted: deploy again to finish it"])
    return DONE if mode and not drifted and manifest.pending is None else CHANGES


def _verify(options: argparse.Namespace) -> int:
    aws, environment, _, manifest = _look(options)
    mode = manifest.environments.get(environment.name)
    if mode is None:
        raise MwaaUsageError(f"nothing was deployed to environment {environment.name} yet")
    files = [key.removeprefix(environment.under_dags("")) for key in manifest.objects]
    found = verify(aws, environment.name, mode=mode, dag_ids=manifest.dags, files=files)
    if options.json:
        report.print_json(vars(found))
    else:
        report.print_lines([f"Environment {environment.name}, mode {mode}", *report.verified_lines(found)])
    return NOT_WELL if found.problems else DONE


def _template(_: argparse.Namespace) -> int:
    print(TEMPLATE.read_text(encoding="utf-8"), end="")
    return DONE


def _look(options: argparse.Namespace, *, to_write: bool = False) -> tuple[Aws, Environment, Bucket, Manifest]:
    try:
        aws = Aws(profile=options.profile, region=options.region)
    except ImportError:
        raise MwaaUsageError("this command needs boto3: pip install boto3") from None
    environment, bucket = current(aws, options.environment)
    if to_write:
        bucket.require_versioning()
    return aws, environment, bucket, load(bucket, environment)


def _made(options: argparse.Namespace, environment: Environment, bucket: Bucket, manifest: Manifest) -> Plan:
    mode = options.mode or manifest.environments.get(environment.name) or COPY
    source = Source(
        dags=options.dags,
        only=options.dag or (),
        wheel=options.wheel,
        wheels=options.wheels,
        by_name=options.by_name,
        no_index=options.no_index,
        extras=options.extra or (),
    )
    choices = Choices(dict(options.set or ()), take_over=options.take_over, use_newest=options.use_newest)
    return make_plan(bucket, environment, manifest, build(mode, source, environment.airflow_version), choices)


# -- the command line --------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}",
        description="Deploy airflow-provider-cloudtrail to an Amazon MWAA environment.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    plan = add("plan", _plan, "show what deploy would do; changes nothing")
    deploy = add("deploy", _deploy, "do it; again after an interruption, to finish")
    for command in (plan, deploy, add("status", _status, "show what is deployed, and whether it is still so")):
        _add_environment(command)
    _add_environment(
        add("verify", _verify, "ask the environment's Airflow for the DAGs, import errors and the provider")
    )
    add("template", _template, "print the CloudFormation template of trail, bucket, queue and IAM policies")
    for command in (plan, deploy):
        _add_choices(command)
    plan.add_argument(
        "--trail-bucket", type=_bucket, metavar="NAME", help="bucket that the role must read (default: its option)"
    )
    plan.add_argument(
        "--trail", metavar="NAME", help="trail (name or ARN) that the role must read (default: its option)"
    )
    plan.add_argument(
        "--queue",
        type=_queue,
        metavar="URL|ARN",
        help="SQS queue that the role must read (default: its option)",
    )
    plan.add_argument("--feature", action="append", choices=FEATURES, help="feature that the role shall be able to use")
    deploy.add_argument("--wait", type=_time, default=780, metavar="MINUTES", help="for an update (default: 13 hours)")
    deploy.add_argument("--poll", type=_time, default=30, metavar="SECONDS", help="between two looks (default: 30)")
    return parser


def _add_environment(command: argparse.ArgumentParser) -> None:
    command.add_argument("environment", metavar="ENVIRONMENT", help="name of the MWAA environment")
    command.add_argument("--region", help="its Region (default: AWS_REGION, or that of the AWS configuration)")
    command.add_argument("--profile", help="profile of the AWS configuration")
    command.add_argument("--json", action="store_true", help="print one JSON document; progress goes to stderr")


def _add_choices(command: argparse.ArgumentParser) -> None:
    add: Any = command.add_argument
    add("--mode", choices=MODES, help="default: as deployed before, else copy")
    add("--dags", type=Path, metavar="FOLDER", help="DAG files to deploy (default: the examples)")
    add("--dag", action="append", metavar="NAME", help="deploy only this file of the folder, without .py; repeatable")
    add("--set", action="append", type=_assignment, metavar="OPTION=VALUE", help="option of [cloudtrail]; an update")
    add("--wheel", type=Path, metavar="FILE", help="mode wheel: the wheel (default: built from the checkout)")
    add("--wheels", type=Path, metavar="FOLDER", help="mode wheel: wheels to put into plugins.zip as well")
    add("--no-index", action="store_true", help="mode wheel: the environment reaches no package index")
    add("--by-name", action="store_true", help="mode wheel: the environment fetches the package from an index")
    add("--extra", action="append", choices=EXTRAS, help="mode wheel: extra of the package to install; repeatable")
    add("--take-over", action="store_true", help="overwrite objects of somebody else that have our names")
    add("--use-newest", action="store_true", help="bring newer requirements.txt and plugins.zip of yours into effect")


def _time(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    # What cannot be waited for would come to light when everything is uploaded and the environment is being updated.
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no time to wait; write a number of zero or more, such as 30")
    return number


def _bucket(text: str) -> str:
    try:
        settings.check("bucket", text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _queue(text: str) -> str:
    if queue_arn(text, "aws") is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no queue; write https://sqs.REGION.amazonaws.com/ACCOUNT/NAME, or its ARN"
        )
    return text


def _assignment(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    name = name.removeprefix("cloudtrail.")
    # MWAA takes no empty value, and says so only at the update, when everything else is uploaded.
    if not sign or not name.strip() or not value.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not OPTION=VALUE, of which neither may be empty")
    return name, value


if __name__ == "__main__":
    sys.exit(main())
