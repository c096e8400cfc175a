"""Distances against scipy's, classes against a linear discriminant analysis, detection against its definition."""

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from hype_bench.stats.mahalanobis import Gaussians, detection, fit_gaussians, squared_distances


def examples(seed=0):
    generator = np.random.default_rng(seed)
    labels = np.repeat([0, 1, 2], 40)
    return generator.normal(size=(120, 4)) @ generator.normal(size=(4, 4)) + 2 * labels[:, None], labels


def test_distances_are_those_to_the_nearest_mean():
    features, labels = examples()
    fitted = fit_gaussians(features, labels)
    for number in range(3):
        np.testing.assert_allclose(fitted.means[number], features[labels == number].mean(axis=0))
    scatter = sum(np.cov(features[labels == number].T, ddof=0) for number in range(3)) / 3
    np.testing.assert_allclose(fitted.precision, np.linalg.inv(scatter), rtol=1e-8)
    nearest = [min(mahalanobis(row, mean, fitted.precision) for mean in fitted.means) ** 2 for row in features[:9]]
    np.testing.assert_allclose(squared_distances(fitted, features[:9]), nearest)


def test_the_nearest_class_is_that_of_a_linear_discriminant_analysis():
    features, labels = examples(1)
    fitted = fit_gaussians(features, labels)
    of_each = [squared_distances(Gaussians(fitted.means[[number]], fitted.precision), features) for number in range(3)]
    model = LinearDiscriminantAnalysis(priors=[1 / 3] * 3).fit(features, labels)
    np.testing.assert_array_equal(np.argmin(of_each, axis=0), model.predict(features))


def test_a_direction_without_variance_does_not_count():
    features, labels = examples()
    flat = np.concatenate([features, np.zeros((120, 1))], axis=1)
    distances = squared_distances(fit_gaussians(flat, labels), flat)
    np.testing.assert_allclose(distances, squared_distances(fit_gaussians(features, labels), features), rtol=1e-6)


def test_detection_counts_pairs():
    inside, outside = np.array([1.0, 2.0, 3.0]), np.array([2.5, 4.0])
    assert detection(inside, outside) == pytest.approx({"auroc": 5 / 6, "fpr95": 1 / 3})
    assert detection(inside, inside)["auroc"] == 0.5
