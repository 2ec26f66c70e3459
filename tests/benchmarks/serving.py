"""`llava serve` under load: what HTTP costs over the engine, throughput, queues, clients that leave, a long run.

    python tests/benchmarks/serving.py                        # all parts, small
    python tests/benchmarks/serving.py --parts cost,closed --clients 1,4,16,64 --seconds 20 --slots 16
    python tests/benchmarks/serving.py --parts cut --cuts 1000
    python tests/benchmarks/serving.py --parts soak --requests 10000
    python tests/benchmarks/serving.py --parts hostile --bodies 5000
    python tests/benchmarks/serving.py --parts closed --llama-server MODEL.gguf MMPROJ.gguf

Prints figures and asserts nothing. The server is a process of its own, so that clients take none of its time but the
machine's; all traffic stays on this machine. "scripted" is an engine that says one word every --token-ms, and costs
nothing itself: what is measured then is HTTP. Times are wall times: run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import socket
import subprocess
import time
from typing import Any
from urllib.request import urlopen

from llava_engine.contract import Reply
from llava_engine.conversation.conversation import Conversation, Message
from tests.benchmarks.http_load import Asked, ask, at, of_pictures, request, scripted, served, show
from tests.llava_engine.server.api import CHAT, fake

PARTS = ("cost", "closed", "open", "cut", "soak", "hostile")


async def closed_loop(port: int, bodies: list[bytes], clients: int, seconds: float) -> list[Asked]:
    """Each client asks again as soon as it has its answer."""
    end = time.perf_counter() + seconds
    done: list[Asked] = []

    async def client(number: int) -> None:
        while time.perf_counter() < end:
            done.append(await ask(port, bodies[(number + len(done)) % len(bodies)]))

    await asyncio.gather(*(client(number) for number in range(clients)))
    return done


async def open_loop(
    port: int, bodies: list[bytes], a_second: float, seconds: float, chance: random.Random
) -> list[Asked]:
    """Clients that come as they like: Poisson."""
    running: list[asyncio.Task[Asked]] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        running.append(asyncio.ensure_future(ask(port, chance.choice(bodies))))
        await asyncio.sleep(chance.expovariate(a_second))
    return list(await asyncio.gather(*running))


def cost(options: argparse.Namespace) -> None:
    """What HTTP adds to an engine that takes no time."""
    words, rounds = 200, options.rounds
    engine = fake([f"{number} " for number in range(words)])
    asked = Conversation((Message.user("Hello"),))
    here = []
    for _ in range(rounds):
        begun = time.perf_counter()
        stream = engine.stream(asked)
        while not isinstance(next(stream), str):
            pass
        here.append(time.perf_counter() - begun)
        assert any(isinstance(item, Reply) for item in stream)
    body = request({"messages": [{"role": "user", "content": "Hello"}], "stream": True})
    with scripted(1, 32, words, 0) as server:
        asyncio.run(closed_loop(server.port, [body], 1, 0.5))
        before = server.cpu_s
        there = [asyncio.run(ask(server.port, body)) for _ in range(rounds)]
        cpu = server.cpu_s - before
    events = sum(one.pieces for one in there)
    extra = at([one.first for one in there], 0.5) - at(here, 0.5)
    print(f"cost, scripted: first text {1e3 * extra:.1f} ms after the engine's own (median of {rounds} connections)")
    print(
        f"  server's CPU: {1e6 * cpu / events:.1f} µs an event, connection and request shared out ({words} events each)"
    )
    with scripted(1, 32, 1, 0) as server:
        asyncio.run(closed_loop(server.port, [body], 1, 0.5))
        before = server.cpu_s
        for _ in range(rounds):
            asyncio.run(ask(server.port, body))
        alone = server.cpu_s - before
    further = 1e6 * (cpu - alone) / (events - rounds)
    print(f"  of that {further:.1f} µs for each further event, {1e3 * alone / rounds:.2f} ms a request")


def closed(options: argparse.Namespace) -> None:
    """As many clients as are told, each with one request at a time."""
    bodies = of_pictures()
    print(f"closed loop, {options.slots} slots, queue {options.queue}, {options.seconds:.0f} s each, the samples")
    with served(options.slots, options.queue, options.model) as server:
        asyncio.run(closed_loop(server.port, bodies, 1, 1))
        for clients in options.clients:
            show(
                f"{clients} clients",
                asyncio.run(closed_loop(server.port, bodies, clients, options.seconds)),
                options.seconds,
            )
    if options.llama_server:
        beside(options, bodies)


def beside(options: argparse.Namespace, bodies: list[bytes]) -> None:
    """The same of llama-server, where it is installed."""
    program = shutil.which("llama-server")
    if program is None:
        print("  llama-server is not installed")
        return
    model, mmproj = options.llama_server
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [
        program,
        "-m",
        model,
        "--mmproj",
        mmproj,
        "-np",
        str(options.slots),
        "--port",
        str(port),
        "--host",
        "127.0.0.1",
    ]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            try:
                with urlopen(f"http://127.0.0.1:{port}/health"):
                    break
            except OSError:
                time.sleep(0.2)
        for clients in options.clients:
            done = asyncio.run(closed_loop(port, bodies, clients, options.seconds))
            show(f"llama-server, {clients}", done, options.seconds)
    finally:
        process.terminate()
        process.wait(30)


def open_(options: argparse.Namespace) -> None:
    """Poisson arrivals, from half of what it can do to more than that."""
    bodies, chance = of_pictures(), random.Random(1)
    with served(options.slots, options.queue, options.model) as server:
        done = asyncio.run(closed_loop(server.port, bodies, options.slots, options.seconds))
        capacity = sum(one.status == 200 for one in done) / options.seconds
        print(f"open loop (Poisson), capacity {capacity:.1f} answers/s with {options.slots} clients")
        for share in (0.5, 0.9, 1.2):
            done = asyncio.run(open_loop(server.port, bodies, share * capacity, options.seconds, chance))
            show(f"{share:.0%} of capacity", done, options.seconds)


def cut(options: argparse.Namespace) -> None:
    """Clients that leave at random moments, and what is left of them a second later."""
    chance = random.Random(2)
    whole = request({"messages": [{"role": "user", "content": "Hello"}], "stream": True})

    async def one(port: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(whole[: chance.choice((len(whole), len(whole), chance.randrange(len(whole))))])
        await asyncio.sleep(chance.random() * 0.2)
        writer.transport.abort()

    async def all_of_them(port: int) -> None:
        places = asyncio.Semaphore(64)

        async def in_turn() -> None:
            async with places:
                await one(port)

        await asyncio.gather(*(in_turn() for _ in range(options.cuts)))

    with scripted(options.slots, options.queue, 100, 5) as server:
        asyncio.run(closed_loop(server.port, [whole], options.slots, 1))
        threads = server.threads
        asyncio.run(all_of_them(server.port))
        time.sleep(1)
        left = {name: int(server.metric(name)) for name in ("running", "waiting", "in_flight")}
        answers = asyncio.run(ask(server.port, whole))
        print(f"cut at random: {options.cuts} clients; a second later {left}, threads {threads} -> {server.threads}; "
              f"and it answers with {answers.status}, {answers.pieces} pieces")  # fmt: skip


def soak(options: argparse.Namespace) -> None:
    """Many requests of 16 clients: memory, and whether each answer is the one that its question always has."""
    bodies, right, wrong, count = of_pictures(), {}, 0, 0
    with served(options.slots, options.queue, ["--dtype", "float32", *options.model]) as server:
        for number, body in enumerate(bodies):
            right[number] = asyncio.run(ask(server.port, body)).text
        print(f"soak: {options.requests} requests, 16 clients")
        first = 0.0

        async def some(many: int) -> None:
            nonlocal wrong, count
            left = iter(range(many))

            async def client() -> None:
                nonlocal wrong, count
                for _ in left:
                    number = random.randrange(len(bodies))
                    answer = await ask(server.port, bodies[number])
                    wrong += answer.status != 200 or answer.text != right[number]
                    count += 1

            await asyncio.gather(*(client() for _ in range(16)))

        while count < options.requests:
            asyncio.run(some(min(500, options.requests - count)))
            first = first or server.rss_mb
            grown = server.rss_mb - first
            print(f"  {count:6d}: RSS {server.rss_mb:7.1f} MB ({grown:+.1f}), wrong answers {wrong}", flush=True)


def hostile(options: argparse.Namespace) -> None:
    """Bodies drawn from the schema and from what it is not; none may be a bug."""
    from hypothesis import HealthCheck, given, settings

    from tests.llava_engine.server.test_hostile import bodies, written

    statuses: dict[int, int] = {}
    with scripted(4, 32, 2, 0) as server:

        @settings(max_examples=options.bodies, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(bodies)
        def one(body: Any) -> None:
            content = written(body)
            head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
            with socket.create_connection(("127.0.0.1", server.port)) as made:
                made.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
                got = made.recv(65536)
                while made.recv(65536):
                    pass
            status = int(got.split()[1])
            statuses[status] = statuses.get(status, 0) + 1

        one()
        print(f"hostile bodies: {sum(statuses.values())} -> {dict(sorted(statuses.items()))}")


def main() -> None:
    """Run the parts and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--queue", type=int, default=32)
    parser.add_argument("--clients", default="1,4,16,64")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--bodies", type=int, default=300)
    parser.add_argument("--llama-server", nargs=2, metavar=("MODEL", "MMPROJ"), help="beside it, where it is installed")
    parser.add_argument(
        "--model", default="", help="options that open a model, as one word: '--model DIR --quantize int8'"
    )
    options = parser.parse_args()
    options.clients = [int(word) for word in options.clients.split(",")]
    options.model = options.model.split()
    parts = {"cost": cost, "closed": closed, "open": open_, "cut": cut, "soak": soak, "hostile": hostile}
    for name in options.parts.split(","):
        parts[name](options)


if __name__ == "__main__":
    main()
