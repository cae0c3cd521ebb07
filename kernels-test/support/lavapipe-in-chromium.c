/*
 * Mesa's lavapipe in the place of Chromium's SwiftShader: compiled by kernels-test/support/browser.ts as libvk_swiftshader.so, which
 * is what Chromium opens for WebGPU where there is no GPU.
 *
 * Of adapters that cannot share images with its compositor Chromium takes SwiftShader alone, which it knows by two numbers. So those are
 * given here; everything else is the driver's own. WebGL keeps the real SwiftShader, by its Vulkan manifest.
 */
#include <dlfcn.h>
#include <string.h>
#include <vulkan/vulkan.h>

#define SWIFTSHADER_VENDOR 0x1AE0
#define SWIFTSHADER_DEVICE 0xC0DE

static PFN_vkGetInstanceProcAddr driver;
static PFN_vkGetPhysicalDeviceProperties driver_properties;
static PFN_vkGetPhysicalDeviceProperties2 driver_properties2;

static void rename_device(VkPhysicalDeviceProperties *properties) {
  properties->vendorID = SWIFTSHADER_VENDOR;
  properties->deviceID = SWIFTSHADER_DEVICE;
}

static VKAPI_ATTR void VKAPI_CALL properties(VkPhysicalDevice device, VkPhysicalDeviceProperties *out) {
  driver_properties(device, out);
  rename_device(out);
}

static VKAPI_ATTR void VKAPI_CALL properties2(VkPhysicalDevice device, VkPhysicalDeviceProperties2 *out) {
  driver_properties2(device, out);
  rename_device(&out->properties);
}

__attribute__((visibility("default"))) VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL vkGetInstanceProcAddr(VkInstance instance,
                                                                                                       const char *name) {
  if (!driver) {
    void *library = dlopen(LAVAPIPE, RTLD_NOW | RTLD_LOCAL);
    if (library) driver = (PFN_vkGetInstanceProcAddr)dlsym(library, "vk_icdGetInstanceProcAddr");
    if (!driver) return NULL;
  }
  if (!strcmp(name, "vkGetInstanceProcAddr")) return (PFN_vkVoidFunction)vkGetInstanceProcAddr;
  PFN_vkVoidFunction own = driver(instance, name);
  if (own && !strcmp(name, "vkGetPhysicalDeviceProperties")) {
    driver_properties = (PFN_vkGetPhysicalDeviceProperties)own;
    return (PFN_vkVoidFunction)properties;
  }
  if (own && (!strcmp(name, "vkGetPhysicalDeviceProperties2") || !strcmp(name, "vkGetPhysicalDeviceProperties2KHR"))) {
    driver_properties2 = (PFN_vkGetPhysicalDeviceProperties2)own;
    return (PFN_vkVoidFunction)properties2;
  }
  return own;
}
