"""The ground both sciences stand on: configuration, data, the learner protocol, the trainer and its records."""
