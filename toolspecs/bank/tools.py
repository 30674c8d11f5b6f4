"""A bank: accounts, their payments, branches, rates of exchange and of interest. All drawn from the seed."""

import datetime as dt
import random
from typing import Any

from tmcli import worlds

World = dict[str, dict[str, dict[str, Any]]]

FIRST = """
    Alistair Barnaby Bettina Bernard Cecily Clement Cordelia Cuthbert Daphne Desmond Drusilla Edmund
    Eleanor Enid Ernest Everard Felicity Geoffrey Georgina Gerald Henrietta Hector Hester Horace
    Imogen Jemima Jocelyn Lavinia Leopold Lambert Mabel Marjorie Maude Mortimer Muriel Neville Nigel
    Octavia Ophelia Percival Phyllis Prudence Rupert Sybil Thaddeus Unity Wilfred Wilhelmina
""".split()
LAST = """
    Ackroyd Aldridge Appleyard Arkwright Atherton Bagshaw Bancroft Beckwith Blackwood Boothroyd
    Bracewell Butterworth Carrington Chadwick Copplestone Cotterill Crabtree Crawshaw Critchley
    Cunliffe Dalrymple Denholm Dewhurst Duckworth Earnshaw Eccles Entwistle Fairclough Featherstone
    Gathercole Goodfellow Greenhalgh Grimshaw Hardcastle Hargreaves Heathcote Honeywell Huddleston
    Ingleby Kettlewell Kilbride Lightfoot Longbottom Nettlefold Oldroyd Openshaw Ormerod Pemberton
    Pickersgill Ramsbottom Rawcliffe Sidebottom Slingsby Sugden Tattersall Thistlewood Thwaites
    Uttley Wadsworth Winterbottom
""".split()
STEMS = """
    Ald Brock Cran Dun Elms Fras Gos Hart Ips Kemp Lanch Mel Nant Oft Pick Rusk Selk Tarn Ux Wen Aysg
    Beck Chip Dork Ever Farn Gis Hens Kirk Led Marl New Okeh Pens Rip Swin Thax Wal Yar Bices Coln
    Dray Eves Frod Hales Keigh Lich Midd Nun Pad
""".split()
ENDS = """
    worth leigh combe thorpe stead minster hurst cester wold hampton den by ham well shaw sley grave
    bridge stow wich market bourne fleet royd stoke brook cott cliffe hithe holme lade mere ness
    over ridge set stock stone toft tree wade wardine water wyke with wood worthy leaze lington low
""".split()
TRADES = """
    Textiles Dairy Motors Insurance Plumbing Stationers Opticians Upholstery Bakeries Brewery
    Cutlery Drapers Electrics Flooring Glazing Haulage Ironmongers Joinery Kennels Laundry Masonry
    Nurseries Outfitters Pharmacy Quarries Roofing Saddlery Tailoring Utilities Veterinary Wholesale
    Broadband Chimneys Carpets Removals Locksmiths Catering Printers Publishers Shipping Solicitors
    Surveyors Telecom Scaffolding Toys Upholsterers Windows Watches Ceramics Paving Typewriters
    Umbrellas
""".split()
FIRMS = """
    Halcyon Albion Zenith Apex Pinnacle Meridian Vanguard Beacon Nimbus Paragon Solstice Equinox
    Polaris Aurora Atlas Titan Phoenix Griffin Unicorn Pegasus Orion Sirius Vega Lyra Corona Nova
    Quasar Stellar Cosmos Omega Sigma Delphi Sparta Corinth Ithaca Troy Carthage Utopia Arcadia
    Avalon Camelot Excalibur Lancelot Merlin Galahad Tristan Osric Godwin Harold Alfred Athelstan
    Wessex Mercia
""".split()
KINDS = ("current", "savings", "business", "joint")
CURRENCIES = {"USD": 10_800, "GBP": 8_500, "CHF": 9_600, "SEK": 112_000, "PLN": 43_000, "CZK": 249_000}
"""About how many ten-thousandths of each currency one euro is; a world's rate is near it."""

MOST_EUR, MOST_MONTHS = 1_000_000, 120


def make_world(seed: int) -> World:
    rng = random.Random(seed)
    people = worlds.pairs(rng, FIRST, LAST, 11)
    branches = {
        branch_id: {
            "town": town,
            "manager": manager,
            "phone": f"0{rng.randint(1200, 1989)} {rng.randint(20000, 98999)}",
        }
        for branch_id, town, manager in zip(
            worlds.ids(rng, "BR", 4), worlds.pairs(rng, STEMS, ENDS, 4, "{}{}"), people[:4], strict=True
        )
    }
    branch_ids = list(branches)
    firms = worlds.pairs(rng, FIRMS, TRADES, 9)
    accounts = {}
    shift = int(rng.random() * 4)
    for i, account_id in enumerate(worlds.ids(rng, "AC", 10)):
        day = dt.date.fromisoformat(worlds.date(rng, 2024, 2025)).toordinal()
        payments = []
        for _ in range(2 + int(rng.random() * 4)):
            paid_on = dt.date.fromordinal(day).isoformat()
            payments.append({
                "payee": firms[int(rng.random() * 9)],
                "amount_eur": (500 + int(rng.random() * 60_000)) / 100,
                "paid_on": paid_on,
            })  # fmt: skip
            day -= 1 + int(rng.random() * 19)
        # Seven people have an account each; three of them have a second one, of the next kind.
        accounts[account_id] = {
            "holder": people[4 + i % 7],
            "account_kind": KINDS[(shift + i % 7 + i // 7) % 4],
            "cents": 60_000 + int(rng.random() * 2_900_000),
            "opened_on": worlds.date(rng, 1988, 2019),
            "branch_id": branch_ids[int(rng.random() * 4)],
            "payments": payments,
            "since": payments[int(rng.random() * len(payments))]["paid_on"],
        }
    return {
        "vault": {"vault": {"seed": seed, "yearly_bp": rng.randint(80, 520)}},
        "branches": branches,
        "accounts": accounts,
        "rates": {
            currency: {"rate": round(usual * (0.9 + rng.random() / 5))}
            for currency, usual in CURRENCIES.items()
        },
        "transfers": {},
    }


def find_account(world: World, holder: str, account_kind: str) -> Any:
    person, kind = worlds.plain(holder), worlds.plain(account_kind)
    if kind not in KINDS:
        raise ValueError(f"no account kind {account_kind!r}; account kinds are: {', '.join(KINDS)}")
    for account_id, row in world["accounts"].items():
        if row["holder"].casefold() == person and row["account_kind"] == kind:
            return {"account_id": account_id}
    raise LookupError(f"no {kind} account of {holder!r}")


def account_summary(world: World, account_id: str) -> Any:
    row = worlds.get(world["accounts"], account_id, "account")
    return {"balance_eur": row["cents"] / 100, "opened_on": row["opened_on"], "branch_id": row["branch_id"]}


def branch_contact(world: World, branch_id: str) -> Any:
    return dict(worlds.get(world["branches"], branch_id, "branch"))


def payments_from(world: World, account_id: str, paid_since: str = "1970-01-01") -> Any:
    row = worlds.get(world["accounts"], account_id, "account")
    first = worlds.day(paid_since)
    payments = [dict(payment) for payment in row["payments"] if payment["paid_on"] >= first]
    cents = sum(round(payment["amount_eur"] * 100) for payment in payments)
    return {"payments": payments, "total_eur": cents / 100}


def exchange_euros(world: World, amount_eur: float, currency: str) -> Any:
    code = currency.strip().upper()
    if code not in CURRENCIES:
        raise ValueError(f"no currency {currency!r}; currencies are: {', '.join(CURRENCIES)}")
    cents = _cents(amount_eur)
    return {"amount": (cents * world["rates"][code]["rate"] + 5_000) // 10_000 / 100, "currency": code}


def savings_interest(world: World, amount_eur: float, months: int) -> Any:
    cents = _cents(amount_eur)
    if not 1 <= months <= MOST_MONTHS:
        raise ValueError(f"months must be from 1 to {MOST_MONTHS}")
    return {"interest_eur": (cents * world["vault"]["vault"]["yearly_bp"] * months + 60_000) // 120_000 / 100}


def send_transfer(world: World, from_account: str, to_account: str, amount_eur: float) -> Any:
    """Sent once, however often it is asked for: the same transfer has the same receipt."""
    giver = worlds.get(world["accounts"], from_account, "account")
    taker = worlds.get(world["accounts"], to_account, "account")
    if from_account == to_account:
        raise ValueError("from_account and to_account must be two accounts")
    cents = _cents(amount_eur)
    number = worlds.number(world["vault"]["vault"]["seed"], from_account, to_account, cents)
    receipt = f"TR-{number % 10_000_000:07}"
    if receipt not in world["transfers"]:
        if cents > giver["cents"]:
            raise ValueError(f"account {from_account!r} holds only {giver['cents'] / 100} euros")
        giver["cents"] -= cents
        taker["cents"] += cents
        world["transfers"][receipt] = {"from": from_account, "to": to_account, "cents": cents}
    return {"receipt": receipt}


def _cents(amount_eur: float) -> int:
    if not 0.01 <= amount_eur <= MOST_EUR:
        raise ValueError(f"amount_eur must be from 0.01 to {MOST_EUR}")
    return round(amount_eur * 100)
