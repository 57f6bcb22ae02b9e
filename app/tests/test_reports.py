from __future__ import annotations

from itertools import permutations
from random import Random

import pytest

from aroundtheworld import reports


def random_places(count, seed):
    rng = Random(seed)
    return [(rng.uniform(-70, 70), rng.uniform(-180, 180)) for _ in range(count)]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("count", [3, 4, 5, 30, 80])
def test_a_tour_visits_every_place_once_and_is_no_longer_than_going_to_the_nearest(count, seed):
    places = random_places(count, seed)
    tour = reports.grand_tour(places)
    assert sorted(tour.order) == list(range(count))
    distance = reports.distances(places)
    assert tour.length_km == pytest.approx(reports.tour_length(distance, tour.order))
    nearest = reports.nearest_neighbour(distance, 0)
    assert tour.first_length_km == pytest.approx(reports.tour_length(distance, nearest))
    assert tour.length_km <= tour.first_length_km


@pytest.mark.parametrize("seed", range(5))
def test_with_few_places_it_finds_the_shortest_of_all(seed):
    places = random_places(7, seed)
    distance = reports.distances(places)
    shortest = min(reports.tour_length(distance, [0, *rest]) for rest in permutations(range(1, 7)))
    assert reports.grand_tour(places, starts=7).length_km == pytest.approx(shortest)


def test_improving_really_improves_and_more_beginnings_never_do_worse():
    places = random_places(120, 1)
    single, many = reports.grand_tour(places), reports.grand_tour(places, starts=6)
    assert single.length_km < 0.95 * single.first_length_km
    assert many.length_km <= single.length_km


def test_places_that_coincide_are_no_trouble():
    tour = reports.grand_tour([(10.0, 20.0)] * 6, starts=6)
    assert sorted(tour.order) == list(range(6))
    assert tour.length_km == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(("count", "starts"), [(2, 1), (5, 0), (5, 6)])
def test_what_cannot_be_a_tour_is_refused(count, starts):
    with pytest.raises(ValueError, match=r"must be from 1 to|at least 3 places"):
        reports.grand_tour(random_places(count, 0), starts)
