"""Hotels of three cities, their rooms, and the bookings of guests. All drawn from the seed."""

import random
from typing import Any

from tmcli import worlds

World = dict[str, dict[str, dict[str, Any]]]

LEFT = """
    Marble Alabaster Cobalt Vermilion Gilded Emerald Sapphire Coral Copper Opal Jade Onyx Pearl
    Topaz Crystal Regal Noble Grand Imperial Majestic Stately Courtly Ducal Princely Sovereign
    Bellevue Belmont Paradise Rivoli Savoy Astoria Bristol Ritzy Carlton Windsor Metropole
    Continental Excelsior Miramar Alhambra Riviera Panorama Palmera Magnolia Oleander Camellia
    Gardenia Jasmine Mimosa Hibiscus Orchid Cypress
""".split()
RIGHT = """
    Pavilion Terrace Manor Chalet Villa Retreat Residence Plaza Courtyard Rotunda Palace Inn Lodge
    Rooms Hostel Guesthouse Mansion Chateau Hideaway Quarters Hospice Tavern Annex Spa Towers Gables
    Arcade Cloister Belvedere Parador Pension Casino Estate Bungalows Apartments Studios Lofts
    Penthouse Veranda Balconies Fountains Baths Thermae Wharf Esplanade Promenade Boulevard Crescent
    Square Colonnade Atrium
""".split()
STEMS = """
    Vald Morr Tess Calv Brend Lucer Mont Pals Serr Torv Fior Gall Benev Marc Orv Pell Ravel Sant
    Trev Vero Alb Barl Cast Dolc Ferr Grad Isol Lav Mant Nov Palm Quar Rim Salv Tarq Urb Vic Volt
    Ancon Bellag Cors Dur Emil Fand Gors Lorv Mess Nurs Ost Port
""".split()
ENDS = """
    ara enza ovia etta onia isco ello ora una igo astro emo ucca ania etto illo orno ussa esco ambra
    endo oria asco inia olta upa ezza irra omba avento eria ossa udine ampo ella iglia ona arda otto
    ivo erno aggio umbria isa ente olfo achi etra ondo usco
""".split()
FIRST = """
    Aksel Arvo Anneli Aino Birgit Bjarne Dagny Eero Einar Elina Erika Esko Freja Gunnar Gunilla
    Hakon Halvar Hanna Helmi Inga Ingmar Jarkko Kaisa Katja Kirsten Lars Liv Magnus Maija Marit
    Niklas Olav Pekka Ragnhild Rikard Sanna Saara Sigrid Sirpa Tapio Tuula Ulrika Vidar
""".split()
LAST = """
    Aaltonen Ahlgren Tikkanen Koskinen Bjorklund Blomqvist Dahlberg Ekdahl Kinnunen Engstrom Eriksen
    Fagerlund Falkman Forsberg Gronholm Gustafsson Haakonsen Hagstrom Halonen Hedlund Heikkinen
    Hellstrom Pesonen Isaksen Jarvinen Johansen Karlsen Kettunen Kjellberg Knutsen Korhonen
    Laaksonen Lagerkvist Lehtonen Liljegren Lofgren Heinonen Makinen Mattila Mikkelsen Nieminen
    Nordahl Nygaard Hakala Oksanen Ostberg Palmgren Pedersen Petersson Rantanen Rosenqvist Rundgren
    Saarinen Salminen Sandvik Sjoberg Soderholm Solberg Stenmark Strandberg Sundqvist Svensson
    Tuominen Virtanen Wallin
""".split()
DEARER = {"double": 2_500, "twin": 3_400, "triple": 7_000, "family": 11_000}
"""Kinds of rooms, and by how many cents at least each is dearer than the cheapest bed."""

MOST_NIGHTS = 30


def make_world(seed: int) -> World:
    rng = random.Random(seed)
    cities = worlds.pairs(rng, STEMS, ENDS, 3, "{}{}")
    names = worlds.pairs(rng, LEFT, RIGHT, 12)
    ratings = worlds.distinct(rng, 48, 12)
    ways = worlds.distinct(rng, 120, 12)
    hotels = {
        hotel_id: {
            "hotel": name,
            "city": cities[i] if i < 3 else rng.choice(cities),
            "rating": (51 + rating) / 10,
            "distance_km": (3 + way) / 10,
            "phone": f"{rng.randint(200, 989)}-{rng.randint(1000, 9899)}",
            "cents": rng.randint(4_000, 15_000),
            "step": rng.randint(11, 899),
        }
        for i, (hotel_id, name, rating, way) in enumerate(
            zip(worlds.ids(rng, "HT", 12), names, ratings, ways, strict=True)
        )
    }
    hotel_ids = list(hotels)
    bookings = {
        booking_id: {
            "guest": guest,
            "hotel_id": rng.choice(hotel_ids),
            "check_in": worlds.date(rng, 2026, 2027),
            "nights": rng.randint(2, 21),
            "refund_cents": rng.randint(2_000, 90_000),
        }
        for booking_id, guest in zip(worlds.ids(rng, "BK", 8), worlds.pairs(rng, FIRST, LAST, 8), strict=True)
    }
    return {
        "desk": {"desk": {"seed": seed}},
        "cities": {city: {"city": city} for city in cities},
        "hotels": hotels,
        "bookings": bookings,
        "made": {},
    }


def lookup_hotel(world: World, hotel: str) -> Any:
    hotel_id = worlds.find(world["hotels"], "hotel", hotel, "hotel")
    return {"hotel_id": hotel_id, "city": world["hotels"][hotel_id]["city"]}


def hotels_in(world: World, city_name: str) -> Any:
    place = worlds.find(world["cities"], "city", city_name, "city")
    found = [
        {"hotel_id": hotel_id, "rating": row["rating"]}
        for hotel_id, row in world["hotels"].items()
        if row["city"] == place
    ]
    return {"hotels": sorted(found, key=lambda hit: -hit["rating"])}


def hotel_details(world: World, hotel_id: str) -> Any:
    row = worlds.get(world["hotels"], hotel_id, "hotel")
    return {"hotel": row["hotel"], "distance_km": row["distance_km"], "phone": row["phone"]}


def room_rate(world: World, hotel_id: str, room_type: str) -> Any:
    row = worlds.get(world["hotels"], hotel_id, "hotel")
    return {"rate_eur": _cents(row, _room(room_type)) / 100}


def guest_booking(world: World, guest: str) -> Any:
    booking_id = worlds.find(world["bookings"], "guest", guest, "booking of")
    row = world["bookings"][booking_id]
    found = {"booking_id": booking_id, **{key: row[key] for key in ("hotel_id", "check_in", "nights")}}
    return {**found, "status": "cancelled"} if row.get("cancelled") else found


def book_room(world: World, hotel_id: str, room_type: str, check_in: str, nights: int) -> Any:
    """Booked once, however often it is asked for: the same stay has the same booking id."""
    row = worlds.get(world["hotels"], hotel_id, "hotel")
    kind = _room(room_type)
    stay = (hotel_id, kind, worlds.day(check_in), nights)
    if not 1 <= nights <= MOST_NIGHTS:
        raise ValueError(f"nights must be from 1 to {MOST_NIGHTS}")
    number = worlds.number(world["desk"]["desk"]["seed"], stay)
    booking_id, room = f"BK-{number % 1_000_000:06}", number // 1_000_000 % 800 + 101
    world["made"][booking_id] = {"refund_cents": nights * _cents(row, kind)}
    return {"booking_id": booking_id, "room_number": room}


def cancel_booking(world: World, booking_id: str) -> Any:
    row = worlds.get({**world["bookings"], **world["made"]}, booking_id, "booking")
    row["cancelled"] = True
    return {"refund_eur": row["refund_cents"] / 100}


def _room(room_type: str) -> str:
    kind = worlds.plain(room_type)
    if kind not in DEARER:
        raise ValueError(f"no room type {room_type!r}; room types are: {', '.join(DEARER)}")
    return kind


def _cents(row: dict[str, Any], kind: str) -> int:
    cents: int = row["cents"] + DEARER[kind] + row["step"] * list(DEARER).index(kind)
    return cents
