"""Recovery from changes that stay, with no hand: alert, labels, training, gate, promotion.

    make recovery DATA=folder [ONLY="new category"] [SEEDS=3]

For each kind of change, a throw-away system is trained on the products before, then products are
sent window by window, and the change begins after the third. Four reviewers label what the
monitor draws, 50 answers at random and 50 for their doubt in a window, which stands for a day.
Nobody does anything else. The story ends after fourteen windows. Products, system, trainings,
reviews and gate are real; only the texts are used, so that a training takes about a minute.

What was lost is measured on 2,550 products before and 6,400 after the change, what was regained on
1,500 of these that are never sent (`held_products`), over the runs of all seeds, which draw the
products.

Exits with 1 unless four of the five kinds recover 80 % of what they lost, or lose nothing, and the
control, in which nothing changes, promotes nothing. The last lines count both apart and state the
rule (`outcomes.RULE`).
"""

import asyncio
import os
import time
from datetime import datetime

from pydantic import SecretStr

from infra.acceptance.client import Client, save
from infra.acceptance.products import dataset
from shared.db.session import UnitOfWork, open_engine
from shared.logs import configure_logs
from shared.settings import DatabaseSettings, LogSettings
from tests.bench.arguments import dataset_parser
from tests.bench.commands import run_command
from tests.bench.quality.recovery.held_products import held_answers
from tests.bench.quality.recovery.outcomes import (
    CONTROL,
    Kind,
    conclusion,
    is_as_wanted,
    table,
)
from tests.bench.quality.recovery.shop import SETTINGS, Shop, database_of, releases_of
from tests.bench.quality.recovery.story import Story, first_change, lines
from tests.bench.quality.recovery.stream import Stream
from tests.bench.quality.recovery.worlds import AFTER, BEFORE, KINDS, WINDOW, World, world
from tests.bench.throwaway import throwaway_system
from tests.support.fakes import FakeBroker
from trainer.datasets.folder import Dataset

#: Windows of the control after the moment at which the others change.
CONTROL_WINDOWS = 5


def main() -> int:
    """Tell the story of each kind, and return the exit code."""
    parser = dataset_parser(__doc__)
    parser.add_argument("--only", choices=KINDS, help="one kind of change")
    parser.add_argument(
        "--windows", type=int, default=AFTER, help="most windows after the change (%(default)s)"
    )
    parser.add_argument(
        "--seeds", type=int, default=1, help="runs of each kind, each with its own products"
    )
    parser.add_argument("--first-seed", type=int, default=0, help="seed of the first run")
    args = parser.parse_args()
    if not args.data.is_dir():
        print(f"left out: there is no dataset in {args.data}")
        return 0
    configure_logs(LogSettings(level="WARNING"), service="recovery")
    data = dataset(args.data)
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    kinds: list[Kind] = []
    for name in [args.only] if args.only else KINDS:
        stories: list[Story] = []
        for seed in seeds:
            stories.append(_story(name, data, args.windows, seed))
            print("\n".join(lines(stories[-1])), flush=True)
            save("recovery", [kind.figures() for kind in [*kinds, Kind(stories)]])
        kinds.append(Kind(stories))
    print("\n".join([*table(kinds), *conclusion(kinds)]))
    return 0 if is_as_wanted(kinds) else 1


def _story(name: str, data: Dataset, windows: int, seed: int) -> Story:
    changed = world(name, data, seed)
    story = Story(name, changed.about, seed)
    print(f"\n{name}, seed {seed}: {changed.about}", flush=True)
    with throwaway_system(**SETTINGS, RAYON_DRIFT_WINDOW_ROWS=str(WINDOW)) as system:
        os.environ["RAYON_ADMIN_PASSWORD"] = system.password
        url = SecretStr(database_of(system.home))
        unit_of_work = UnitOfWork(open_engine(DatabaseSettings(url=url)), FakeBroker())
        try:
            champion = asyncio.run(_tell(story, changed, system.address, unit_of_work, windows))
            first, last = (releases_of(system.home) / one for one in (story.champion, champion))
            story.held = held_answers(changed, first, last)
        except SystemExit as error:
            story.failure = str(error)
    return story


async def _tell(
    story: Story, changed: World, address: str, unit_of_work: UnitOfWork, windows: int
) -> str:
    """Tell the story until its end; return the release that serves then."""
    if story.name == CONTROL:
        windows = min(windows, CONTROL_WINDOWS)
    async with Client(address) as client:
        shop = Shop(client, address)
        stream = Stream(shop, unit_of_work)
        run = await shop.open(changed.first)
        story.champion = await shop.champion()
        print(f"  first release: {run['message']}", flush=True)
        for number in range(BEFORE):
            rows = changed.before.iloc[number * WINDOW : (number + 1) * WINDOW]
            story.before.append(await stream.window(rows))
            _say(story)
        since = time.time()
        for number in range(windows):
            rows = changed.after.iloc[number * WINDOW : (number + 1) * WINDOW]
            story.after.append(await stream.window(rows))
            story.minutes = round((time.time() - since) / 60, 1)
            await _follow(story, client, since)
            _say(story)
        return await shop.champion()


async def _follow(story: Story, client: Client, since: float) -> None:
    """Add what the system has done since the change."""

    def is_new(moment: str) -> bool:
        return datetime.fromisoformat(moment).timestamp() >= since

    alerts = (await client.get("/v1/drift-alerts", limit=200))["items"]
    story.alerts = [one for one in reversed(alerts) if is_new(one["raised_at"])]
    found = first_change(story.alerts)
    if story.alert is None and found is not None:
        raised = datetime.fromisoformat(found["raised_at"]).timestamp()
        story.alert = {
            "kind": found["kind"],
            "summary": found["summary"],
            "products": sum(window.products for window in story.after),
            "labels": sum(window.labels for window in story.after),
            "minutes": round((raised - since) / 60, 1),
        }
    runs = (await client.get("/v1/training-runs", limit=200))["items"]
    ended = [run for run in reversed(runs) if is_new(run["requested_at"]) and run["finished_at"]]
    story.verdicts = [f"{run['status']}, {run['dataset']}: {run['message']}" for run in ended]
    ledger = (await client.get("/v1/releases"))["ledger"]
    story.promotions = [line for line in reversed(ledger) if is_new(line["promoted_at"])]


def _say(story: Story) -> None:
    window = [*story.before, *story.after][-1]
    print(
        f"  window {len(story.before) + len(story.after)}: release {window.release}, F1 "
        f"{window.true:.3f}, estimated {window.estimated:.3f}, labelled {window.labelled:.3f} "
        f"({window.labels} labels, {len(window.refused)} refused), moved: "
        f"{'+'.join(window.moved) or 'nothing'}; {len(story.verdicts)} trainings, "
        f"{len(story.promotions)} promotions",
        flush=True,
    )


if __name__ == "__main__":
    run_command(main)
