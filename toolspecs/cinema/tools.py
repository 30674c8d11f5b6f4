"""Cinemas: films, their showings and seats, reservations, and what drew visitors. All drawn from the seed."""

import datetime as dt
import random
from typing import Any

from tmcli import worlds

World = dict[str, dict[str, dict[str, Any]]]

LEFT = """
    Noonday Neon Solitary Daring Fearless Disappearing Electric Savage Sleepless Tender Wicked Lucky
    Misplaced Kidnapped Counterfeit Perfect Classified Infinite Parallel Digital Atomic Cosmic Lunar
    Martian Subterranean Invisible Impossible Unlikely Accidental Final Nineteenth Thirteenth
    Ultimate Double Mechanical Clockwork Cardboard Plastic Nylon Chrome Titanium Concrete Diamond
    Satin Leather Denim Runaway Homeward Backward Sideways Upstairs Downhill
""".split()
RIGHT = """
    Caravan Gambit Heist Rendezvous Alibi Lawsuit Juror Detour Escape Pursuit Ambush Vendetta
    Masquerade Conspiracy Impostor Informant Bodyguard Detective Hitchhiker Neighbour Babysitter
    Astronaut Android Robot Zombie Vampire Werewolf Magician Gangster Outlaw Sheriff Bandit Smuggler
    Gambler Boxer Wrestler Jockey Chauffeur Butler Waitress Barista Librarian Professor Algorithm
    Satellite Motel Highway Subway Skyscraper Carousel Circus Rodeo
""".split()
FIRST = """
    Adele Alain Amedeo Antonella Armand Aurelie Baptiste Benedetta Camille Carlotta Clelia Claudine
    Corinne Damien Domenico Edoardo Eloise Emilien Estelle Fabrizio Fleur Francesca Gaston Genevieve
    Gianni Giorgio Honore Ines Jeanne Julien Leonie Lorenzo Lucien Manon Marcello Margaux Marius
    Massimo Maurice Odette Paola Pascal Raffaella Remy Renata Sylvie Thierry Valentina Yvette
""".split()
LAST = """
    Archambault Aubert Barbier Battaglia Beaumont Belmondo Benedetti Bertrand Blanchet Boucher
    Bouvier Brunetti Caputo Caruso Chevalier Colombo Cordier Costanzo Damiani Delacroix Delorme
    Deschamps Donati Duchamp Dumont Esposito Fabbri Faucher Ferrandi Fontaine Fournier Gagliardi
    Gaillard Garnier Gauthier Giraud Grimaldi Guerin Joubert Lacroix Lambertini Lefebvre Lemaire
    Leone Lombardi Maillard Mancini Marchand Martinelli Mazzoni Monnier Morandi Napolitano Orsini
    Pagani Pellegrini Perrin Renard Rinaldi Rochefort Rousseau Sabatini Sartori Savard Tessier
    Thibault Tournier Valentini Vasseur Verdier Zanetti
""".split()
SEAT_CLASSES = ("stalls", "balcony", "box")
ROWS = "ABCDEFGHJKLMNPQRSTUV"
N_FILMS = 11
MOST_SEATS = 8


def make_world(seed: int) -> World:
    rng = random.Random(seed)
    directors = worlds.pairs(rng, FIRST, LAST, 4)
    runtimes = worlds.distinct(rng, 118, N_FILMS)
    films = {
        film_id: {
            "film": title,
            "director": directors[i % 4],
            "runtime_min": 74 + runtime,
            "premiere": worlds.date(rng, 1995, 2025),
        }
        for i, (film_id, title, runtime) in enumerate(
            zip(
                worlds.ids(rng, "FM", N_FILMS),
                worlds.pairs(rng, LEFT, RIGHT, N_FILMS),
                runtimes,
                strict=True,
            )
        )
    }
    film_ids = list(films)
    # A Saturday: of ordinals, a multiple of seven is a Sunday.
    today = dt.date.fromisoformat(worlds.date(rng, 2026, 2027)).toordinal() // 7 * 7 + 6
    showings = {}
    for i, screening_id in enumerate(worlds.ids(rng, "SC", 18)):
        cents = 700 + 10 * int(rng.random() * 60)
        showings[screening_id] = {
            "film_id": film_ids[i if i < N_FILMS else int(rng.random() * N_FILMS)],
            "show_date": dt.date.fromordinal(today + int(rng.random() * 40)).isoformat(),
            "starts": f"{14 + int(rng.random() * 9)}:{5 * int(rng.random() * 12):02}",
            "seats": [9 + int(rng.random() * 190), 9 + int(rng.random() * 90), 8 + int(rng.random() * 16)],
            "cents": [
                cents,
                cents + 60 + 10 * int(rng.random() * 50),
                2 * cents - 10 * int(rng.random() * 9),
            ],
        }
    weekends = {}
    for day in (today - 7, today - 14):
        visitors = sorted(worlds.distinct(rng, 60_000, 4), reverse=True)
        ranked = worlds.distinct(rng, N_FILMS, 4)
        weekends[dt.date.fromordinal(day).isoformat()] = {
            "ranking": [
                {"film": films[film_ids[place]]["film"], "visitors": 1_000 + count}
                for place, count in zip(ranked, visitors, strict=True)
            ]
        }
    return {
        "till": {"till": {"seed": seed}},
        "directors": {name: {"director": name} for name in directors},
        "films": films,
        "showings": showings,
        "reservations": {
            reservation_id: {"screening_id": screening_id, "seat_class": "stalls", "seats": 2}
            for reservation_id, screening_id in zip(
                worlds.ids(rng, "RV", 6), list(showings)[-6:], strict=True
            )
        },
        "weekends": weekends,
    }


def film_facts(world: World, film: str) -> Any:
    film_id = worlds.find(world["films"], "film", film, "film")
    row = world["films"][film_id]
    return {"film_id": film_id, "runtime_min": row["runtime_min"], "premiere": row["premiere"]}


def films_by(world: World, director: str) -> Any:
    name = worlds.find(world["directors"], "director", director, "films by")
    films = [row for row in world["films"].values() if row["director"] == name]
    return {"films": [row["film"] for row in sorted(films, key=_newest_first)]}


def showtimes(world: World, film_id: str) -> Any:
    worlds.get(world["films"], film_id, "film")
    found = [
        {"screening_id": screening_id, "show_date": row["show_date"], "starts": row["starts"]}
        for screening_id, row in world["showings"].items()
        if row["film_id"] == film_id
    ]
    return {"screenings": sorted(found, key=lambda hit: (hit["show_date"], hit["starts"]))}


def seats_left(world: World, screening_id: str, seat_class: str) -> Any:
    row = worlds.get(world["showings"], screening_id, "screening")
    place = _seat_class(seat_class)
    return {"seats": row["seats"][place], "price_eur": row["cents"][place] / 100}


def reserve_seats(world: World, screening_id: str, seat_class: str, seats: int) -> Any:
    """Reserved once, however often it is asked for: the same wish has the same reservation."""
    row = worlds.get(world["showings"], screening_id, "screening")
    place = _seat_class(seat_class)
    if not 1 <= seats <= MOST_SEATS:
        raise ValueError(f"seats must be from 1 to {MOST_SEATS}")
    reservation_id = f"RV-{_number(world, screening_id, place, seats) % 16**5:05X}"
    if reservation_id not in world["reservations"]:
        if seats > row["seats"][place]:
            raise ValueError(f"only {row['seats'][place]} seats are left in the {SEAT_CLASSES[place]}")
        row["seats"][place] -= seats
        world["reservations"][reservation_id] = {
            "screening_id": screening_id,
            "seat_class": SEAT_CLASSES[place],
            "seats": seats,
        }
    return {"reservation_id": reservation_id, "first_seat": _seat(world, reservation_id, screening_id)}


def move_reservation(world: World, reservation_id: str, screening_id: str) -> Any:
    row = worlds.get(world["reservations"], reservation_id, "reservation")
    worlds.get(world["showings"], screening_id, "screening")
    row["screening_id"] = screening_id
    return {"first_seat": _seat(world, reservation_id, screening_id)}


def box_office(world: World, weekend: str) -> Any:
    row = worlds.get(world["weekends"], weekend.strip(), "ranking of")
    return {"ranking": [dict(hit) for hit in row["ranking"]]}


def _newest_first(film: dict[str, Any]) -> int:
    return -dt.date.fromisoformat(film["premiere"]).toordinal()


def _seat_class(name: str) -> int:
    if worlds.plain(name) not in SEAT_CLASSES:
        raise ValueError(f"no seat class {name!r}; seat classes are: {', '.join(SEAT_CLASSES)}")
    return SEAT_CLASSES.index(worlds.plain(name))


def _seat(world: World, reservation_id: str, screening_id: str) -> str:
    number = _number(world, reservation_id, screening_id)
    return f"{ROWS[number % len(ROWS)]}{number // len(ROWS) % 38 + 1}"


def _number(world: World, *about: Any) -> int:
    return worlds.number(world["till"]["till"]["seed"], *about)
