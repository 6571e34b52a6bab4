"""What a person sees: TensorBoard, the progress bar, profiles, figures."""
