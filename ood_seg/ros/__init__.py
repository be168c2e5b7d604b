"""ROS 2 messages, scheduling and bags, without a ROS installation."""
