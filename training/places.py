"""Cities of the simulated world with their real coordinates, and how far and how long it is between two points."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

EARTH_RADIUS_KM = 6371.0088

STREET_SPEED_KMH = 80.0
FLIGHT_SPEED_KMH = 800.0
AIRPORT_HOURS = 2.5
"""Getting to the airport and away from it, at both ends together."""

_CITIES = (  # name, latitude, longitude, inhabitants in millions
    ("New York, NY", 40.71, -74.01, 8.3),
    ("Los Angeles, CA", 34.05, -118.24, 3.9),
    ("Chicago, IL", 41.88, -87.63, 2.7),
    ("Houston, TX", 29.76, -95.37, 2.3),
    ("Phoenix, AZ", 33.45, -112.07, 1.6),
    ("Philadelphia, PA", 39.95, -75.17, 1.6),
    ("San Antonio, TX", 29.42, -98.49, 1.5),
    ("San Diego, CA", 32.72, -117.16, 1.4),
    ("Dallas, TX", 32.78, -96.80, 1.3),
    ("Jacksonville, FL", 30.33, -81.66, 1.0),
    ("Columbus, OH", 39.96, -82.99, 0.9),
    ("Indianapolis, IN", 39.77, -86.16, 0.9),
    ("Charlotte, NC", 35.23, -80.84, 0.9),
    ("San Francisco, CA", 37.77, -122.42, 0.8),
    ("Seattle, WA", 47.61, -122.33, 0.8),
    ("Denver, CO", 39.74, -104.99, 0.7),
    ("Washington, DC", 38.91, -77.04, 0.7),
    ("Nashville, TN", 36.16, -86.78, 0.7),
    ("Boston, MA", 42.36, -71.06, 0.7),
    ("Portland, OR", 45.52, -122.68, 0.6),
    ("Las Vegas, NV", 36.17, -115.14, 0.6),
    ("Detroit, MI", 42.33, -83.05, 0.6),
    ("Atlanta, GA", 33.75, -84.39, 0.5),
    ("Miami, FL", 25.76, -80.19, 0.4),
    ("Minneapolis, MN", 44.98, -93.27, 0.4),
    ("New Orleans, LA", 29.95, -90.07, 0.4),
    ("Anchorage, AK", 61.22, -149.90, 0.3),
    ("Honolulu, HI", 21.31, -157.86, 0.3),
    ("Toronto, Canada", 43.65, -79.38, 0.8),
    ("Mexico City, Mexico", 19.43, -99.13, 0.8),
    ("São Paulo, Brazil", -23.55, -46.63, 0.6),
    ("London, United Kingdom", 51.51, -0.13, 0.9),
    ("Paris, France", 48.86, 2.35, 0.6),
    ("Berlin, Germany", 52.52, 13.41, 0.5),
    ("Madrid, Spain", 40.42, -3.70, 0.4),
    ("Rome, Italy", 41.90, 12.50, 0.4),
    ("Lagos, Nigeria", 6.52, 3.38, 0.3),
    ("Cape Town, South Africa", -33.92, 18.42, 0.2),
    ("Dubai, United Arab Emirates", 25.20, 55.27, 0.3),
    ("Mumbai, India", 19.08, 72.88, 0.4),
    ("Singapore, Singapore", 1.35, 103.82, 0.4),
    ("Tokyo, Japan", 35.68, 139.69, 0.6),
    ("Seoul, South Korea", 37.57, 126.98, 0.4),
    ("Sydney, Australia", -33.87, 151.21, 0.4),
)

CITY_NAMES = tuple(city[0] for city in _CITIES)
CITY_LATITUDES = np.array([city[1] for city in _CITIES])
CITY_LONGITUDES = np.array([city[2] for city in _CITIES])
CITY_SHARES = np.array([city[3] for city in _CITIES]) / sum(city[3] for city in _CITIES)

Degrees = NDArray[np.floating[Any]]


def distance_km(
    latitude: Degrees, longitude: Degrees, to_latitude: Degrees, to_longitude: Degrees
) -> NDArray[np.float64]:
    """Great-circle distance between points in degrees (haversine); NaN where a point is NaN."""
    first, second = (np.radians(np.asarray(degrees, np.float64)) for degrees in (latitude, to_latitude))
    turn = np.radians(np.asarray(to_longitude, np.float64) - np.asarray(longitude, np.float64))
    half_chord = np.sin((second - first) / 2) ** 2 + np.cos(first) * np.cos(second) * np.sin(turn / 2) ** 2
    return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(half_chord, 1.0))))


def travel_time_s(kilometres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least time in which an honest person covers the distance, by road or by air."""
    hours = np.minimum(kilometres / STREET_SPEED_KMH, AIRPORT_HOURS + kilometres / FLIGHT_SPEED_KMH)
    return hours * 3600.0


CITY_DISTANCES_KM = distance_km(
    CITY_LATITUDES[:, None], CITY_LONGITUDES[:, None], CITY_LATITUDES[None, :], CITY_LONGITUDES[None, :]
)  # (city, city)
