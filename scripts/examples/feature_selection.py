"""Which features to keep, as a scikit-learn selector: `python scripts/examples/feature_selection.py`."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.datasets import load_breast_cancer
from sklearn.feature_selection import SelectorMixin
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import validate_data
from torch import Tensor

from nne import optimize


class EvolvedFeatures(SelectorMixin, BaseEstimator):  # type: ignore[misc]
    """Keeps the features with which an estimator is right most often, by cross-validation.

    Args:
        estimator: learns from the features; None: naive Bayes.
        budget: sets of features that are tried.
        price: what a feature costs, in the estimator's score.
        cv: folds.
        random_state: same number, same features.
    """

    def __init__(
        self, estimator: Any = None, budget: int = 300, price: float = 0.001, cv: int = 3, random_state: int = 0
    ) -> None:
        self.estimator = estimator
        self.budget = budget
        self.price = price
        self.cv = cv
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Choose among the columns of ``X``."""
        X, y = validate_data(self, X, y)
        estimator = GaussianNB() if self.estimator is None else self.estimator
        smallest = int(np.unique(y, return_counts=True)[1].min()) if is_classifier(estimator) else len(y)
        folds = min(self.cv, smallest)

        def worth(x: Tensor) -> list[float]:
            return [self._worth(clone(estimator), X[:, kept], y, folds) for kept in x.numpy()]

        found = optimize(worth, X.shape[1], self.budget, seed=self.random_state)
        self.support_ = found.x.numpy()
        self.score_ = found.fitness
        return self

    def _worth(self, estimator: Any, X: NDArray[Any], y: NDArray[Any], folds: int) -> float:
        if not X.shape[1]:
            return -np.inf
        scores = cross_val_score(estimator, X, y, cv=folds) if folds > 1 else [estimator.fit(X, y).score(X, y)]
        return float(np.mean(scores) - self.price * X.shape[1])

    def _get_support_mask(self) -> NDArray[np.bool_]:
        return self.support_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


def main() -> None:
    """Thirty features of cells, of which few are enough."""
    X, y = load_breast_cancer(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, random_state=0)
    selected = make_pipeline(EvolvedFeatures(), GaussianNB()).fit(X, y)
    kept = selected[0].get_support()
    print(f"{kept.sum()} of {len(kept)} features: {', '.join(map(str, kept.nonzero()[0]))}")
    with_all = GaussianNB().fit(X, y).score(X_test, y_test)
    print(f"right on {selected.score(X_test, y_test):.1%} of the test set; {with_all:.1%} with all")


if __name__ == "__main__":
    main()
