# SPDX-License-Identifier: Apache-2.0
"""Write the sources of a ``vision_msgs`` package, for a ROS that comes without it.

The fields are those of the standard package (version 4, Humble and later), so that the types are the real ones on the
wire. Usage: ``generate_vision_msgs.py FOLDER``.
"""

import sys
from pathlib import Path

VERSION = "4.1.1"
MESSAGES = {
    "BoundingBox2D": ("vision_msgs/Pose2D center", "float64 size_x", "float64 size_y"),
    "BoundingBox2DArray": ("std_msgs/Header header", "vision_msgs/BoundingBox2D[] boxes"),
    "BoundingBox3D": ("geometry_msgs/Pose center", "geometry_msgs/Vector3 size"),
    "BoundingBox3DArray": ("std_msgs/Header header", "vision_msgs/BoundingBox3D[] boxes"),
    "Classification": ("std_msgs/Header header", "ObjectHypothesis[] results"),
    "Detection2D": (
        "std_msgs/Header header",
        "ObjectHypothesisWithPose[] results",
        "BoundingBox2D bbox",
        "string id",
    ),
    "Detection2DArray": ("std_msgs/Header header", "Detection2D[] detections"),
    "Detection3D": (
        "std_msgs/Header header",
        "ObjectHypothesisWithPose[] results",
        "BoundingBox3D bbox",
        "string id",
    ),
    "Detection3DArray": ("std_msgs/Header header", "Detection3D[] detections"),
    "LabelInfo": ("std_msgs/Header header", "vision_msgs/VisionClass[] class_map", "float32 threshold"),
    "ObjectHypothesis": ("string class_id", "float64 score"),
    "ObjectHypothesisWithPose": ("ObjectHypothesis hypothesis", "geometry_msgs/PoseWithCovariance pose"),
    "Point2D": ("float64 x", "float64 y"),
    "Pose2D": ("vision_msgs/Point2D position", "float64 theta"),
    "VisionClass": ("uint16 class_id", "string class_name"),
    "VisionInfo": (
        "std_msgs/Header header",
        "string method",
        "string database_location",
        "int32 database_version",
    ),
}

PACKAGE_XML = f"""<?xml version="1.0"?>
<package format="3">
  <name>vision_msgs</name>
  <version>{VERSION}</version>
  <description>The standard vision messages, generated because the ROS in use lacks them.</description>
  <maintainer email="maintainers@muon-ad.invalid">Muon-AD maintainers</maintainer>
  <license>Apache-2.0</license>
  <buildtool_depend>ament_cmake</buildtool_depend>
  <buildtool_depend>rosidl_default_generators</buildtool_depend>
  <depend>std_msgs</depend>
  <depend>geometry_msgs</depend>
  <exec_depend>rosidl_default_runtime</exec_depend>
  <member_of_group>rosidl_interface_packages</member_of_group>
  <export><build_type>ament_cmake</build_type></export>
</package>
"""

CMAKE_LISTS = """cmake_minimum_required(VERSION 3.8)
project(vision_msgs)
find_package(ament_cmake REQUIRED)
find_package(geometry_msgs REQUIRED)
find_package(rosidl_default_generators REQUIRED)
find_package(std_msgs REQUIRED)
rosidl_generate_interfaces(${PROJECT_NAME}
%s
  DEPENDENCIES std_msgs geometry_msgs)
ament_export_dependencies(rosidl_default_runtime)
ament_package()
"""


def write_package(folder: Path) -> None:
    """Write package.xml, CMakeLists.txt and msg/*.msg of vision_msgs into ``folder``."""
    (folder / "msg").mkdir(parents=True, exist_ok=True)
    (folder / "package.xml").write_text(PACKAGE_XML)
    (folder / "CMakeLists.txt").write_text(CMAKE_LISTS % "\n".join(f'  "msg/{name}.msg"' for name in MESSAGES))
    for name, fields in MESSAGES.items():
        (folder / "msg" / f"{name}.msg").write_text("\n".join(fields) + "\n")


if __name__ == "__main__":
    write_package(Path(sys.argv[1]))
