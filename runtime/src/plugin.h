/* plugin.h: drivers that this library was not built with. */
#ifndef HR_PLUGIN_H
#define HR_PLUGIN_H

#include "base.h"
#include "headrace_driver.h"

/* Whether a driver is of this library's ABI and has all that one must have; `place` begins the message. */
hr_status hr_driver_check(const hr_driver *driver, const char *place, hr_error *error);

/* Whose images it runs besides its own; NULL for nobody's. */
const char *hr_driver_stands_for(const hr_driver *driver);

/* Whether one of its devices has a feature, by the driver's name for it; else the message says why not. */
hr_status hr_driver_supports(const hr_driver *driver, const hr_device_options *device, const char *feature,
                             hr_error *error);

#endif
