"""Password guessing: timing of refusals, and 10,000 guesses from one and from many addresses.

    make guesses

Starts a throw-away system in a temporary folder. The client is a trusted proxy there, so that it
can choose the address of each request.
"""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Iterator

import httpx
import numpy as np
from scipy.stats import mannwhitneyu

from infra.acceptance.client import Connections, in_flight
from tests.bench.arguments import plain_parser
from tests.bench.throwaway import throwaway_system
from tests.e2e.system import System

#: Timed refusals of each kind, over so many accounts that none reaches its limit of failures.
TIMED, ACCOUNTS = 200, 10
GUESSES, ADDRESSES, CLIENTS = 10_000, 2_000, 16
PASSWORD = "correct horse battery staple"
KNOWN, UNKNOWN = "198.51.100.7", "203.0.113.9"


def main() -> None:
    """Attack a system and print how far the guesses get."""
    plain_parser(__doc__).parse_args()
    with throwaway_system(RAYON_GATEWAY_TRUSTED_PROXIES='["127.0.0.1"]') as system:
        attack(system)


def attack(system: System) -> None:
    """Time refusals, then guess the passwords of two accounts."""
    names = [f"user{number}" for number in range(ACCOUNTS)]
    with system.client() as admin:
        for name in (*names, "one", "many"):
            create_account(admin, name)
    addresses = (f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}" for n in itertools.count(1))
    with httpx.Client(base_url=system.address, timeout=60) as http:
        compare_times(http, names, addresses)
        for victim, count in (("one", 1), ("many", ADDRESSES)):
            print(f"\n{GUESSES} guesses at one account from {count} addresses")
            # The owner has signed in from this address before.
            sign_in(http, victim, PASSWORD, KNOWN)
            sources = [next(addresses) for _ in range(count)]
            started = time.perf_counter()
            answers = asyncio.run(guess(system.address, victim, sources))
            print(
                f"  {time.perf_counter() - started:.0f} s, answers {dict(sorted(answers.items()))}"
            )
            print(f"  checked: {answers[401]}, refused without a check: {answers[429]}")
            for where, address in (("a known address", KNOWN), ("an unknown address", UNKNOWN)):
                status, seconds = sign_in(http, victim, PASSWORD, address)
                print(f"  the owner, from {where}: {status} in {seconds * 1000:.0f} ms")


def create_account(admin: httpx.Client, name: str) -> None:
    """Create an account with a password."""
    made = admin.post("/v1/users", json={"username": name, "role": "client"})
    made.raise_for_status()
    code = made.json()["one_time_code"]["code"]
    chosen = admin.post("/v1/password", json={"code": code, "new_password": PASSWORD})
    chosen.raise_for_status()


def sign_in(http: httpx.Client, name: str, password: str, address: str) -> tuple[int, float]:
    """Try to sign in from an address; return the status and the seconds."""
    started = time.perf_counter()
    answer = http.post(
        "/v1/token",
        data={"username": name, "password": password},
        headers={"X-Forwarded-For": address},
    )
    return answer.status_code, time.perf_counter() - started


def compare_times(http: httpx.Client, names: list[str], addresses: Iterator[str]) -> None:
    """Compare the time of refusals for unknown users with that for wrong passwords.

    The two kinds alternate, and each request has an address of its own.
    """
    times: dict[str, list[float]] = {"unknown user": [], "wrong password": []}
    for number in range(TIMED):
        for kind, name in (
            ("unknown user", f"nobody{number}"),
            ("wrong password", names[number % ACCOUNTS]),
        ):
            status, seconds = sign_in(http, name, "wrong password", next(addresses))
            if status != 401:
                raise SystemExit(f"Expected status 401 for {name}. Received: {status}")
            times[kind].append(seconds * 1000)
    print(f"Milliseconds of a refusal, {TIMED} of each kind: median (quartiles)")
    for kind, found in times.items():
        low, middle, high = np.quantile(found, [0.25, 0.5, 0.75])
        print(f"  {kind:<16}{middle:7.1f} ({low:.1f} to {high:.1f})")
    unknown, wrong = times.values()
    test = mannwhitneyu(unknown, wrong)
    area = test.statistic / (len(unknown) * len(wrong))
    print(f"  distinguishable in {area:.1%} of pairs (50 % is chance)", end="")
    print(f", Mann-Whitney p = {test.pvalue:.2f}")


async def guess(url: str, victim: str, sources: list[str]) -> Counter[int]:
    """Send the guesses and count the statuses of the responses."""
    http = Connections(url)

    async def send(number: int) -> int:
        answer = await http.request(
            "POST",
            "/v1/token",
            data={"username": victim, "password": f"guess {number}"},
            headers={"X-Forwarded-For": sources[number % len(sources)]},
        )
        return answer.status_code

    try:
        return Counter(await in_flight(CLIENTS, range(GUESSES), send))
    finally:
        await http.aclose()


if __name__ == "__main__":
    main()
