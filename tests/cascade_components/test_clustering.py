import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_components import clustering
from cascade_components.cluster_count import best_cluster_count
from cascade_components.clustering import QueryClusterer, evenly, left_out_distances


def blobs(count=60, centres=((0, 0), (8, 0), (0, 8)), seed=0):
    rng = np.random.default_rng(seed)
    which = np.arange(count) % len(centres)
    return np.array(centres)[which] + rng.normal(size=(count, 2)), which


def test_silhouette_finds_the_blobs():
    points, which = blobs()
    clusterer = QueryClusterer().fit(points)
    assert len(clusterer.centroids_) == 3
    assert len({(label, blob) for label, blob in zip(clusterer.labels_, which, strict=True)}) == 3


def test_new_points_join_the_nearest_centroid_at_its_distance():
    clusterer = QueryClusterer(3).fit(blobs()[0])
    points, which = blobs(seed=1)
    labels, distances = clusterer.predict(points)
    assert len(set(zip(labels, which, strict=True))) == 3
    assert distances == pytest.approx(np.linalg.norm(points - clusterer.centroids_[labels], axis=1))


def test_queries_of_the_same_kind_are_on_the_map_and_others_are_not():
    clusterer = QueryClusterer(3).fit(blobs(300)[0])
    labels, distances = clusterer.predict(blobs(3000, seed=1)[0])
    assert (distances > clusterer.radius_[labels]).mean() < 0.01
    labels, distances = clusterer.predict([[40.0, 40.0]])
    assert distances[0] > clusterer.radius_[labels[0]]


def test_left_out_distances_are_those_to_the_mean_of_the_others():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(40, 3)) + 5 * np.repeat(np.eye(3), (20, 15, 5), axis=0)
    labels = np.repeat([0, 1, 2], (20, 15, 5))
    centroids = np.stack([points[labels == cluster].mean(0) for cluster in range(3)])
    found = left_out_distances(points, centroids, labels)
    for row, point in enumerate(points):
        others = centroids.copy()
        others[labels[row]] = np.delete(points, row, 0)[np.delete(labels, row) == labels[row]].mean(0)
        assert found[row] == pytest.approx(np.linalg.norm(others - point, axis=1).min())


@pytest.mark.parametrize("dim", [2, 384])
def test_one_in_two_hundred_queries_of_the_same_kind_is_out_of_the_map_and_most_of_other_kinds_are(dim):
    rng = np.random.default_rng(dim)

    def unit(points):
        return points / np.linalg.norm(points, axis=1, keepdims=True)

    subjects = unit(rng.normal(size=(9, dim)))

    def queries(count, subject):
        return unit(subjects[subject] + rng.normal(size=(count, dim)) * 0.7 / np.sqrt(dim))

    def outside(points):
        labels, distances = clusterer.predict(points)
        return (distances > clusterer.radius_[labels]).mean()

    clusterer = QueryClusterer(8).fit(queries(1600, np.arange(1600) % 8))
    assert outside(queries(8000, np.arange(8000) % 8)) < 0.012
    if dim > 2:  # in the plane the subjects overlap
        assert outside(queries(8000, np.arange(8000) % 8)) > 0.0002
        assert outside(queries(500, 8)) > 0.95
        assert outside(unit(rng.normal(size=(500, dim)))) > 0.95


def test_where_queries_are_all_alike_the_map_reaches_halfway_to_the_next_kind():
    rng = np.random.default_rng(0)
    alike = np.repeat([[0.0, 0.0], [4.0, 0.0]], 30, axis=0) + 0.01 * rng.normal(size=(60, 2))
    clusterer = QueryClusterer(2).fit(alike)
    labels, distances = clusterer.predict([[0.0, 1.9], [0.0, 2.1], [4.0, -1.9]])
    assert (distances > clusterer.radius_[labels]).tolist() == [False, True, False]


def test_queries_that_are_the_same_are_on_the_map_whatever_the_rounding():
    clusterer = QueryClusterer(2).fit(np.repeat([[0.6, 0.8], [0.8, 0.6]], 10, axis=0))
    labels, distances = clusterer.predict([[0.6 + 1e-9, 0.8], [0.8, 0.6]])
    assert (distances <= clusterer.radius_[labels]).all()


def test_identical_queries_make_one_cluster():
    assert len(QueryClusterer().fit(np.zeros((10, 2))).centroids_) == 1


@pytest.mark.parametrize("wrong", [0, -1, "auto", 2.5])
def test_a_bad_number_of_clusters_is_refused(wrong):
    with pytest.raises(ValueError, match="positive int or 'silhouette'"):
        QueryClusterer(wrong)


def test_as_many_clusters_as_want_different_models():
    points, which = blobs(600)
    rng = np.random.default_rng(0)
    shares = np.array([[0.9, 0.9], [0.2, 0.9], [0.5, 0.55]])[which]
    correct = (rng.random((600, 2)) < shares).astype(float)
    assert best_cluster_count(points, correct) >= 2


@pytest.mark.parametrize("count", [3, "silhouette"])
def test_of_many_queries_a_sample_finds_the_centroids_and_all_get_a_label(count, monkeypatch):
    monkeypatch.setattr(clustering, "LARGEST_SAMPLE", 200)
    monkeypatch.setattr(clustering, "SILHOUETTE_SAMPLE", 100)
    points, which = blobs(900)
    clusterer = QueryClusterer(count).fit(points)
    assert len({(label, blob) for label, blob in zip(clusterer.labels_, which, strict=True)}) == 3
    for centroid in clusterer.centroids_:
        assert np.abs(centroid - [(0, 0), (8, 0), (0, 8)]).sum(1).min() < 0.5


@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=60), seed=st.integers(0, 9))
def test_any_beginning_of_the_turns_has_its_share_of_each_cluster(labels, seed):
    labels = np.array(labels)
    order = np.argsort(evenly(labels, seed), kind="stable")
    for count in range(len(labels)):
        shares = np.bincount(labels[order[:count]], minlength=5)
        assert (np.abs(shares - np.bincount(labels, minlength=5) * count / len(labels)) <= 3.5).all()
