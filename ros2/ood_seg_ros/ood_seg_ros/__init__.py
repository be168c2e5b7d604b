"""ROS 2 node that publishes labels, anomaly maps and unknown objects."""
