"""What the native tiers share: fork servers, and the Linux mechanisms that confine candidates."""
