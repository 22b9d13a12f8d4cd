"""Parts of `experiments.predict_scaling`: its data, kernels, regression, networks and figures."""
