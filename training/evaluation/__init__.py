"""Did training pay off? Probes on the frozen encoder, beside baselines that learned nothing."""
