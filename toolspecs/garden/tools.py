"""Allotment gardens: plots and who rents them, crops and their seed. All drawn from the seed."""

import datetime as dt
import random
from typing import Any

from tmcli import worlds

World = dict[str, dict[str, dict[str, Any]]]

FIRST = """
    Adelina Aitana Alejandro Alonso Amparo Andres Anselmo Araceli Beatriz Benito Blanca Carmen
    Catalina Cayetano Consuelo Cristobal Dolores Domingo Elvira Emiliano Enrique Esperanza Esteban
    Estrella Eugenio Fernanda Fidel Gonzalo Graciela Guillermo Hernan Ignacio Isidro Jacinta Joaquin
    Leandro Leticia Lourdes Macarena Maricel Mercedes Nieves Octavio Paloma Piedad Ramiro Remedios
    Rocio Rodrigo Salvador Soledad Teodoro Trinidad
""".split()
LAST = """
    Acevedo Aguilar Alarcon Almeida Alvarado Aranda Arellano Avila Balderas Barragan Barrientos
    Bautista Benavides Bermudez Bustamante Caballero Calderon Camacho Cardenas Carrasco Cervantes
    Cisneros Cordero Corrales Delgado Escobar Espinoza Esquivel Estrada Figueroa Fuentes Galindo
    Gallegos Guerrero Gutierrez Henriquez Herrera Hinojosa Ibarra Izquierdo Jaramillo Juarez Ledesma
    Lozano Machado Maldonado Manzano Medrano Mendoza Montoya Mosquera Navarro Noriega Ochoa Olivares
    Orozco Pacheco Palomares Pantoja Paredes Pineda Quintero Quiroga Ribeiro Robledo Saavedra
    Salazar Sandoval Sepulveda Solis Tavares Trujillo Valdez Villarreal Zambrano Zamora
""".split()
LEFT = """
    Ruby Garnet Amethyst Russet Tawny Ochre Umber Sienna Magenta Lilac Mauve Indigo Violet Purple
    Turquoise Striped Speckled Mottled Dappled Ruffled Crinkled Fringed Curly Bushy Creeping
    Climbing Trailing Dwarf Giant Early Late Winter Hardy Heirloom Plump Honey Nutty Peppery Zesty
    Crunchy Juicy Waxy Downy Woolly Prickly Spiny Feathery Starry Moonlit Sunburst Rainbow
    Firecracker
""".split()
RIGHT = """
    Chard Kale Kohlrabi Radish Scorzonera Swede Beetroot Carrot Celeriac Salsify Cardoon Asparagus
    Aubergine Courgette Cucumber Gherkin Marrow Melon Tomato Tomatillo Chilli Okra Sweetcorn Peas
    Edamame Jicama Broccoli Cauliflower Sprouts Rocket Endive Chicory Lettuce Cress Purslane
    Amaranth Mizuna Lovage Dill Chervil Borage Burnet Horseradish Samphire Skirret Basil Parsley
    Shallot Scallion Garlic Rhubarb Strawberry
""".split()
LANE_STEMS = """
    Daisy Poppy Tulip Lupin Aster Dahlia Iris Lily Peony Primrose Cowslip Bluebell Foxglove Snowdrop
    Crocus Daffodil Hyacinth Pansy Petunia Begonia Fuchsia Verbena Zinnia Marigold Cosmea Larkspur
    Delphin Campion Teasel Tansy Comfrey Valerian Hyssop Rue Sage Mint Ivy Fern Moss Reed Rush Sedge
    Willowherb Elder Spindle Privet Hornbeam Sycamore Laburnum Lilacs Wisteria
""".split()
LANE_ENDS = """
    Bank Croft End Fold Gap Garth Green Holt Hook Hurn Knoll Leys Mead Nook Arbour Paddock Patch
    Pightle Pit Rise Row Side Slade Slip Spinney Strip Stile Top Vale View Walk Wall Warren Wash Way
    Wicket Woodside Yard Acre Barn Bower Brake Brow Bush Close Copse Corner Course Drift Edge
""".split()
N_PLOTS = 11


def make_world(seed: int) -> World:
    rng = random.Random(seed)
    names = worlds.pairs(rng, LEFT, RIGHT, 8)
    yields = worlds.distinct(rng, 900, 8)
    crops = {
        name: {
            "crop": name,
            "sow_by": worlds.date(rng, 2027, 2027),
            "spacing_cm": 4 + int(rng.random() * 85),
            "yield_g": 55 + grams,
            "ripens_in": 21 + int(rng.random() * 150),
            "seeds_per_g": 11 + int(rng.random() * 600),
        }
        for name, grams in zip(names, yields, strict=True)
    }
    lanes = worlds.pairs(rng, LANE_STEMS, LANE_ENDS, 3)
    areas, dryness = worlds.distinct(rng, 800, N_PLOTS), worlds.distinct(rng, 480, N_PLOTS)
    plots = {
        plot_no: {
            "gardener": gardener,
            # The first six in turn, so that no lane has less than two plots.
            "lane": lanes[i % 3 if i < 6 else int(rng.random() * 3)],
            "crop": names[int(rng.random() * 8)],
            "area_m2": (180 + area) / 10,
            "leased_until": worlds.date(rng, 2028, 2039),
            "moisture_pct": (40 + dry) / 10,
        }
        for i, (plot_no, gardener, area, dry) in enumerate(
            zip(
                worlds.ids(rng, "GP", N_PLOTS),
                worlds.pairs(rng, FIRST, LAST, N_PLOTS),
                areas,
                dryness,
                strict=True,
            )
        )
    }
    return {
        "shed": {"shed": {"seed": seed}},
        "lanes": {lane: {"lane": lane} for lane in lanes},
        "crops": crops,
        "plots": plots,
    }


def plot_rented_by(world: World, gardener: str) -> Any:
    return {"plot_no": worlds.find(world["plots"], "gardener", gardener, "plot of")}


def plot_record(world: World, plot_no: str) -> Any:
    row = worlds.get(world["plots"], plot_no, "plot")
    return {key: row[key] for key in ("crop", "area_m2", "leased_until")}


def crop_card(world: World, crop: str) -> Any:
    row = _crop(world, crop)
    return {key: row[key] for key in ("sow_by", "spacing_cm", "yield_g")}


def seeds_in(world: World, crop: str, seed_g: float) -> Any:
    row = _crop(world, crop)
    if not 0.1 <= seed_g <= 5_000:
        raise ValueError("seed_g must be from 0.1 to 5000")
    return {"seeds": round(row["seeds_per_g"] * seed_g)}


def harvest_date(world: World, crop: str, sown_on: str) -> Any:
    row = _crop(world, crop)
    day = dt.date.fromisoformat(worlds.day(sown_on))
    if day.year >= dt.MAXYEAR:
        raise ValueError("sown_on is too far away")
    return {"harvest_on": (day + dt.timedelta(days=row["ripens_in"])).isoformat()}


def driest_plots(world: World, lane: str) -> Any:
    name = worlds.find(world["lanes"], "lane", lane, "lane")
    found = [
        {"plot_no": plot_no, "moisture_pct": row["moisture_pct"]}
        for plot_no, row in world["plots"].items()
        if row["lane"] == name
    ]
    return {"plots": sorted(found, key=lambda hit: hit["moisture_pct"])}


def order_seed(world: World, crop: str, sachets: int) -> Any:
    """Ordered once, however often it is asked for: the same order has the same reference and day."""
    row = _crop(world, crop)
    if not 1 <= sachets <= 100:
        raise ValueError("sachets must be from 1 to 100")
    number = worlds.number(world["shed"]["shed"]["seed"], row["crop"], sachets)
    order_ref = f"{number % 1_000:03}/{number // 1_000 % 10_000:04}"
    day = dt.date(2026, 10, 1) + dt.timedelta(days=number // 10_000_000 % 150)
    return {"order_ref": order_ref, "arrives_on": day.isoformat()}


def _crop(world: World, name: str) -> dict[str, Any]:
    return world["crops"][worlds.find(world["crops"], "crop", name, "crop")]
