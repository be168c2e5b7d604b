"""ROS 2 without ROS: images and results as messages, newest-frame scheduling, bags."""
