# SPDX-License-Identifier: Apache-2.0
# . ./env.sh : this checkout's environment, for bash and zsh.
# A ROS that is sourced already, or else the wheels in .venv; on top of it the built packages and the DDS profile.

if [ -n "${ZSH_VERSION:-}" ]; then
  _muon_ad_root=$(eval 'cd "$(dirname "${(%):-%x}")" && pwd')
  _muon_ad_shell=zsh
else
  _muon_ad_root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
  _muon_ad_shell=bash
fi

if [ ! -f "$_muon_ad_root/install/local_setup.$_muon_ad_shell" ]; then
  echo "muon-ad: this checkout is not set up yet: run 'make setup' in $_muon_ad_root" >&2
else
  export VIRTUAL_ENV="$_muon_ad_root/.venv"
  case ":$PATH:" in
    *":$VIRTUAL_ENV/bin:"*) ;;
    *) export PATH="$VIRTUAL_ENV/bin:$PATH" ;;
  esac

  if [ -d "$VIRTUAL_ENV/share/rclpy" ]; then  # ROS from wheels
    export AMENT_PREFIX_PATH="$VIRTUAL_ENV" CMAKE_PREFIX_PATH="$VIRTUAL_ENV"
    # The wheels would start every Python twice to add these folders, and not at all below another venv of that kind.
    case ":${LD_LIBRARY_PATH:-}:" in
      *":$VIRTUAL_ENV/lib:"*) ;;
      *)
        for _muon_ad_folder in "$VIRTUAL_ENV"/lib/python3*/site-packages/ros_*.libs "$VIRTUAL_ENV"/lib; do
          LD_LIBRARY_PATH="$_muon_ad_folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
        done
        ;;
    esac
    export LD_LIBRARY_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
  elif [ -z "${AMENT_PREFIX_PATH:-}" ]; then
    echo "muon-ad: this checkout was set up with an installed ROS: source that first (. /opt/ros/<distro>/setup.$_muon_ad_shell)" >&2
  fi

  . "$_muon_ad_root/install/local_setup.$_muon_ad_shell"

  # Fast DDS 2 (Humble, Jazzy) and 3 (Kilted) read the file from different variables.
  : "${FASTRTPS_DEFAULT_PROFILES_FILE:=$_muon_ad_root/config/fastdds_large_images.xml}"
  : "${FASTDDS_DEFAULT_PROFILES_FILE:=$FASTRTPS_DEFAULT_PROFILES_FILE}"
  export FASTRTPS_DEFAULT_PROFILES_FILE FASTDDS_DEFAULT_PROFILES_FILE
fi
unset _muon_ad_root _muon_ad_shell _muon_ad_folder
